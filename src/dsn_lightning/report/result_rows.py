"""Rows of results: what differs in nothing but the seed becomes one, with mean and standard deviation."""

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dsn_lightning.evaluation.splits import FIGURES, group_rows
from dsn_lightning.evaluation.stored import stored_scores
from dsn_lightning.report.collect import Collection, Json, Source

_T = TypeVar("_T")

RATES = ("top1", "top5", "mean_class", "map", "hit_rate")
"""Figures that are fractions in [0, 1]."""

_METHODS = (
    "random",
    "uniform",
    "max_response",
    "dsn_fixed",
    "dsn",
    "dense",
    "oracle",
    "oracle_video",
)  # Table I's order
_NOT_A_SETTING = (  # where a run lies, how it was watched, what a row says itself, what follows from another key
    "run", "folder", "exit_code", "started", "overrides", "seed", "run_dir", "M", "N", "gamma", "algorithm.module",
    "algorithm.name", "algorithm.train_N", "dataset.name", "dataset.root", "dataset.split", "dataset.modality",
    "dataset.seed", "dataset.reading.prepared", "dataset.reading.copies", "dataset.reading.cache_frames",
    "dataset.reading.decoder", "dataset.reading.dense_clips", "backbone.name", "backbone.cache_activations",
    "observation.name", "observation.checkpoint", "observation.network.clips_per_section",
    "classifier.checkpoint", "checkpoint", "baseline", "dsn_fixed",
    "max_response", "trainer", "logger", "progress", "num_workers", "start_workers", "shared", "sweep", "resume",
    "test", "selection", "schedule.rule.max_epochs", "schedule.sampler_rule.max_epochs", "devices", "trust", "fusion",
)  # fmt: skip

_SAID_AS = {"gamma": "gamma", "N": "train_N"}
"""Keys of the configuration that only some rows say, and what they are called there."""


@dataclass(frozen=True)
class Result:
    """Rows that differ in nothing but the seed.

    Attributes:
        described: a row's fields that are neither figures nor counts nor the seed, and the counts of the first row.
        setting: what else sets it apart from rows described alike: values of the configuration, or its folder.
        seeds: a row each, sorted.
        values: figure -> value for each seed; None where a row has none.
        sources: names of the folders that the rows stand in.
        origins: the first of them for each row.
        group: number that it has in common with the results that only their folders tell from it.
    """

    described: Json
    setting: str
    seeds: tuple[Any, ...]
    values: Mapping[str, tuple[float | None, ...]]
    sources: tuple[str, ...]
    origins: tuple[str, ...] = ()
    group: int = 0

    def mean(self, figure: str) -> float | None:
        """Return the mean over seeds; None if the figure is lacking for one of them."""
        known = [value for value in self.values.get(figure, ()) if value is not None]
        return statistics.fmean(known) if known and len(known) == len(self.seeds) else None

    def spread(self, figure: str) -> float | None:
        """Return the standard deviation over seeds (n - 1); None with one seed."""
        if len(self.seeds) < 2 or self.mean(figure) is None:
            return None
        return statistics.stdev(value for value in self.values[figure] if value is not None)

    @property
    def main_figure(self) -> str:
        """Metric that the paper gives for the data set: ``map`` for THUMOS14, else ``top1``."""
        return "map" if self.described["dataset"].startswith("thumos14") and self.mean("map") is not None else "top1"


@dataclass(frozen=True)
class _Row:
    row: Json
    setting: str
    sources: tuple[str, ...]


def results_of(found: Collection) -> list[Result]:
    """Return all results in the order of the paper's Table I, data set by data set.

    Rows that are equal in everything but the seconds that they took are one: an evaluation and the table it was copied
    to, or the baseline's row in each job of a sweep. Runs are told apart by the values of their configurations that
    differ. What is alike even so, seed included, but has other figures, is told apart by its folder.
    """
    results = []
    for number, group in enumerate(_grouped(_distinct(found))):
        parts = by_folder(group, names=lambda own: own.sources, seed=lambda own: own.row.get("seed"))
        results += [_result(rows, number, place) for place, rows in parts.items()]
    return sorted(results, key=_order)


def by_folder(
    members: Sequence[_T], *, names: Callable[[_T], Sequence[str]], seed: Callable[[_T], Any]
) -> dict[str, list[_T]]:
    """Split members among which a seed occurs twice: by folder but for the seed in its name, else by folder.

    The tables' folders have the digest of a configuration after the seed, which differs with it. A member that stands
    in several folders belongs to the part of the first one; those of the others have it as well, unless a seed would
    occur twice there (in a file that others were copied to).

    Args:
        members: alike but for seed and folder.
        names: the folders that a member stands in.
        seed: a member's.

    Returns:
        What the folders of a part have in common -> its members; all of them under "" where no seed occurs twice.
    """

    def repeats(part: Sequence[_T]) -> bool:
        seeds = [repr(seed(own)) for own in part]
        return len(seeds) > len(set(seeds))

    if not repeats(members):
        return {"": list(members)}
    parts: dict[str, list[_T]] = {}
    standing: list[tuple[_T, list[str]]] = []
    for pattern in (r"seed[_=-]?\d+(_[0-9a-f]{10}\b)?", r"seed[_=-]?\d+", r"$^"):
        standing = [(own, [re.sub(pattern, "seed*", name) for name in names(own)]) for own in members]
        parts = {}
        for own, places in standing:
            parts.setdefault(places[0], []).append(own)
        if not any(map(repeats, parts.values())):
            break
    whole = {part: [own for own, places in standing if part in places] for part in parts}
    return {part: parts[part] if repeats(whole[part]) else whole[part] for part in parts}


def _distinct(found: Collection) -> list[_Row]:
    settings = _settings(found)
    kept: dict[tuple, _Row] = {}
    for source in sorted(found.sources, key=lambda own: stored_scores(own.folder) is None):  # copies last
        setting, run_keys = settings.get(source.name, ("", {}))
        for row in source.rows:
            key = tuple(sorted((name, repr(value)) for name, value in row.items() if name != "seconds_per_video"))
            unsaid = [f"{name}={value}" for name, value in run_keys.items() if row.get(_SAID_AS[name]) is None]
            own = ", ".join(filter(None, [setting, *unsaid]))
            if key in kept:
                before = kept[key]
                same = before.setting if own in ("", before.setting) else "" if before.setting else own
                kept[key] = _Row(before.row, same, (*before.sources, source.name))
            else:
                kept[key] = _Row(row, own, (source.name,))
    return list(kept.values())


def _settings(found: Collection) -> dict[str, tuple[str, Json]]:
    """Return for each source that is a run in which values of its configuration runs alike in kind differ.

    Besides, those of gamma and N in which they differ: not every row says them, but whoever classifies its clips was
    trained with them.
    """
    configs = {run.folder.resolve(): run.config for run in found.runs}
    kinds: dict[tuple, list[tuple[Source, Json, Json]]] = {}
    for source in found.sources:
        config = configs.get(source.folder.resolve(), {})
        own = {key: value for key, value in config.items() if not _is_left_out(key)}
        if config.get("dataset.modality") != "flow":
            own.pop("backbone.flow_std", None)
        said = {key: config[key] for key in _SAID_AS if key in config}
        kind = (config.get("dataset.name"), config.get("algorithm.name"))
        kinds.setdefault(kind, []).append((source, own, said))
    settings = {}
    for members in kinds.values():
        varied = _varied([own for _, own, _ in members])
        varied_said = _varied([said for _, _, said in members])
        for source, own, said in members:
            text = ", ".join(f"{key}={own[key]}" for key in varied if key in own)
            settings[source.name] = text, {key: said[key] for key in varied_said if key in said}
    return settings


def _varied(configs: Sequence[Json]) -> list[str]:
    keys = sorted({key for config in configs for key in config})
    return [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]


def _is_left_out(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in _NOT_A_SETTING)


def _grouped(rows: Sequence[_Row]) -> list[list[_Row]]:
    """Group rows that differ in nothing but the seed: other costs are other networks, other videos another test."""
    tagged = [
        {**own.row, "_of": (own.setting, own.row.get("videos"), own.row.get("gmacs")), "top1": i}
        for i, own in enumerate(rows)
    ]  # top1 takes no part in the grouping
    return [[rows[line["top1"]] for line in group] for group in group_rows(tagged, but=("seed",))]


def _result(rows: list[_Row], group: int, place: str) -> Result:
    rows = sorted(rows, key=lambda own: (str(type(own.row.get("seed"))), own.row.get("seed") or 0))
    left_out = {*FIGURES, "seed"}
    described = {name: value for name, value in rows[0].row.items() if name not in left_out}
    values = {name: tuple(own.row.get(name) for own in rows) for name in FIGURES}
    sources = tuple(dict.fromkeys(name for own in rows for name in own.sources))
    seeds = tuple(own.row.get("seed") for own in rows)
    setting = ", ".join(filter(None, (rows[0].setting, place)))
    return Result(described, setting, seeds, values, sources, tuple(own.sources[0] for own in rows), group)


def _order(result: Result) -> tuple:
    own = result.described
    method = own["selection"]
    place = _METHODS.index(method) if method in _METHODS else len(_METHODS)
    numbers = [value if isinstance(value := own.get(key), int) else 0 for key in ("train_M", "train_N", "M", "N")]
    texts = [str(own.get(key)) for key in ("dataset", "split", "modality", "backbone")]
    classifiers = sorted(("dsn", "baseline"), key=lambda name: name != ("dsn" if method == "dsn" else "baseline"))
    classifier = str(own.get("classifier"))
    whose = classifiers.index(classifier) if classifier in classifiers else len(classifiers)
    return (*texts, numbers[2:], place, method, whose, classifier, numbers, result.setting)
