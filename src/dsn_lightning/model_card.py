"""The model card of a trained DSN: what it was trained on, what it gives and costs, and what it is not for.

Names and results may come from anybody: they are shown as texts, and what has another type than expected is left out.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dsn_lightning.text_tables import count_text, escape_markdown

_LISTED = 50
"""Classes that are listed; of more only the number is given."""


def model_card(
    settings: Mapping[str, Any],
    classes: Sequence[str],
    *,
    basis: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
    statistics: Mapping[str, Any],
) -> str:
    """Return a model card in Markdown, with the metadata of Hugging Face's hub.

    Args:
        settings: resolved configuration of the run.
        classes: names of the classes.
        basis: what it was trained on and started from; see docs/file_formats.md.
        rows: rows of ``results.json`` that `is_row` accepts.
        statistics: content of ``statistics.json``, which has the intervals.
    """
    algorithm, dataset = settings["algorithm"]["name"], settings["dataset"]["name"]
    networks = f"{settings['backbone']['name']} behind {settings['observation']['name']}"
    return "\n".join(
        [
            "---",
            "library_name: dsn_lightning",
            "pipeline_tag: video-classification",
            "tags: [video-classification, clip-sampling, dsn_lightning]",
            "---",
            "",
            f"# {escape_markdown(f'{algorithm} on {dataset}: {networks}')}",
            "",
            "A clip sampler and a video classifier (*Dynamic Sampling Networks for Efficient Action Recognition in "
            "Videos*, Zheng, Liu, Lu, Wang), trained with dsn_lightning.",
            "",
            "```python",
            "from dsn_lightning import DSN",
            "",
            'model = DSN.from_pretrained("FOLDER")',
            'print(model.predict("clip.mp4"))',
            "```",
            "",
            *_facts(settings, classes, basis),
            "",
            "## Results",
            "",
            *_results(rows, statistics),
            "",
            "## Limits",
            "",
            "- It names one of its classes for every video, also for videos that show none of them.",
            "- Its scores are not calibrated, and were measured on one data set only.",
            "- It reads RGB files and does not find when an action happens.",
            "",
        ]
    )


def _facts(settings: Mapping[str, Any], classes: Sequence[str], basis: Mapping[str, Any]) -> list[str]:
    """Return a table of what it was trained on and what it is given."""
    dataset, backbone, test = settings["dataset"], settings["backbone"], settings["test"]
    side, resize = backbone["crop_size"], dataset["reading"]["resize"]
    facts = {
        "data set": f"{dataset['name']}{_split(dataset)}{_videos(basis)}",
        "classes": _classes(classes),
        "sections : candidates": f"trained {settings['M']}:{settings['N']}, tested {_first(test['M'])}:{test['N']}",
        "gamma, seed": f"{settings['gamma']}, {settings['seed']}",
        "input": f"{backbone['frames_per_clip']} frames, stride {backbone['frame_stride']}, "
        f"{side}x{side} pixels, {_rate(dataset)}, resize={resize}",
        "started from": f"classifier: {basis.get('classifier_from', 'unknown')}; "
        f"observation network: {basis.get('observation_from', 'unknown')}",
    }
    return ["| | |", "|---|---|", *(f"| {name} | {escape_markdown(text)} |" for name, text in facts.items())]


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) else value


def _split(dataset: Mapping[str, Any]) -> str:
    return f", split {dataset['split']}" if dataset.get("split") is not None else ""


def _videos(basis: Mapping[str, Any]) -> str:
    return f", {basis['videos']} training videos" if basis.get("videos") else ""


def _classes(classes: Sequence[str]) -> str:
    return f"{len(classes)}: {', '.join(classes)}" if len(classes) <= _LISTED else str(len(classes))


def _rate(dataset: Mapping[str, Any]) -> str:
    return "the video's frame rate" if dataset.get("fps") is None else f"{dataset['fps']} frames per second"


def _results(rows: Iterable[Mapping[str, Any]], statistics: Mapping[str, Any]) -> list[str]:
    """Return a table of the rows, with 95% intervals where the statistics have them."""
    keys = ("selection", "classifier", "M", "N")
    methods = statistics.get("methods")
    entries = [entry for entry in methods if isinstance(entry, dict)] if isinstance(methods, list) else []
    intervals = {tuple(str(entry.get(key)) for key in keys): entry for entry in entries}
    lines = []
    for row in rows:
        selection, classifier, num_sections, num_clips = (str(row.get(key)) for key in keys)
        known = intervals.get((selection, classifier, num_sections, num_clips), {})
        cells = [
            f"{selection} ({classifier}'s classifier)",
            f"{num_sections}:{num_clips}",
            count_text(row.get("clips")),
        ]
        cells = [escape_markdown(text) for text in cells]
        cells += [_rate_cell(row.get(figure), known.get(figure)) for figure in ("top1", "map")]
        cells.append("-" if row.get("gmacs") is None else f"{row['gmacs']:.4g}")
        lines.append(f"| {' | '.join(cells)} |")
    if not lines:
        return ["Not evaluated."]
    about = statistics.get("about")
    videos = about.get("videos") if isinstance(about, dict) else None
    of_videos = f" on {videos} test videos" if type(videos) is int else ""
    head = f"Rates in %{of_videos}, with 95% intervals over the videos."
    return [head, "", "| selection | M:N | clips | top-1 | mAP | GMACs |", "|---|---|---|---|---|---|", *lines]


def _rate_cell(value: float | None, interval: object) -> str:
    if value is None:
        return "-"
    ends = [interval.get("low"), interval.get("high")] if isinstance(interval, dict) else []
    numbers = [end for end in ends if isinstance(end, float | int) and math.isfinite(end)]
    return f"{value:.1%}" + (f" [{numbers[0]:.1%}, {numbers[1]:.1%}]" if len(numbers) == 2 else "")
