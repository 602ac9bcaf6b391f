"""What results stand on: the videos that a network was trained or tested on, and what it started from."""

from collections.abc import Mapping, Sequence
from typing import Any

from dsn_lightning.config.build_part import located
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.trained import Trained
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.datasets.records import Subset
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.splits import kind_of_videos
from dsn_lightning.files import user_path


def video_counts(data: SectionClipDataModule, settings: Settings, subset: Subset) -> dict[str, Any]:
    """Return ``videos`` that are used and their ``classes``, each out of how many: ``videos_of``, ``classes_of``.

    These are the official numbers where the data set has some, else those of its lists, and ``own_folder`` is the name
    of its folder, which tells the user's own data sets apart; None with official numbers.
    """
    source: Any = located(settings.dataset.source["_target_"], "dataset")
    official = source.official_counts(**settings.dataset.source)
    videos, root = data.videos(subset), settings.dataset.keys.get("root")
    return {
        "videos": len(videos),
        "videos_of": (official or {}).get(subset) or data.inventory()[subset]["listed"],
        "classes": len({label for video in videos for label in video.record.labels}),
        "classes_of": source.num_classes or len(data.classes),
        "own_folder": user_path(root).absolute().name if root and official is None else None,
    }


def check_has_videos(data: SectionClipDataModule, settings: Settings, *, remedy: str = "") -> None:
    """Raise `UsageError`, with a remedy, if no video of the tested subset can be used."""
    subset = settings.test.subset
    if data.videos(subset):
        return
    bad, kind = data.bad[subset], kind_of_videos(settings.dataset_in_results)
    reason = f" that can be used; the first of {len(bad)} bad ones: {next(iter(bad.values()))}" if bad else ""
    raise UsageError(f"dataset={settings.dataset.name}: has no {kind}{reason}{remedy}")


def results_basis(
    runs: Mapping[str, Trained], classifiers: Mapping[str, Any], data: SectionClipDataModule, settings: Settings
) -> dict[str, Any]:
    """Return the part of ``environment.json`` that says what results stand on: ``tested_on``, and ``networks`` by name.

    A classifier without a run of its own is that of the run that keeps it frozen.
    """
    keepers = [run for run in runs.values() if run.settings.algorithm.freezes_classifier]
    names = dict.fromkeys([*classifiers, *runs])
    networks = {name: runs[name].basis if name in runs else keepers[0].basis for name in names}
    return {"tested_on": video_counts(data, settings, settings.test.subset), "networks": networks}


def fused_basis(streams: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the same for a fusion, from the ``environment.json`` of its streams: the smaller counts, both starts."""
    if not all(stream.get("networks") and stream.get("tested_on") for stream in streams):
        return {}
    first, *others = (stream["networks"] for stream in streams)
    common = [name for name in first if all(other.get(name) for other in [first, *others])]
    return {
        "tested_on": _fused([stream["tested_on"] for stream in streams]),
        "networks": {name: _fused([network[name] for network in (first, *others)]) for name in common},
    }


def _fused(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    fused: dict[str, Any] = {}
    for key, value in facts[0].items():
        values = [one.get(key) for one in facts]
        counts = [number for number in values if isinstance(number, int)]
        texts = [text for text in dict.fromkeys(values) if isinstance(text, str)]
        fused[key] = min(counts) if isinstance(value, int) else " + ".join(texts) or None
    return fused
