"""A data set's splits: the mean over the official ones, and the name of the videos held out of training."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

HEADINGS = {"top1": "top-1", "top5": "top-5", "mean_class": "mean class", "map": "mAP", "hit_rate": "hit rate"}
"""The rates of a row, fractions in [0, 1], and their headings in tables."""

FIGURES = (*HEADINGS, "gmacs_classifier", "gmacs_observation", "gmacs", "seconds_per_video")
"""Keys of a row that are averaged."""

COUNTS = ("videos", "videos_missing", "videos_failed")
"""Keys of a row that are summed."""

HELD_OUT = "_held_out"
"""Suffix of a data set's name in results on videos that were held out of its training."""


def held_out_name(dataset: str) -> str:
    """Return the name of a data set's held-out videos in results, which distinguishes them from the test videos."""
    return dataset + HELD_OUT


def kind_of_videos(dataset: str | None) -> str:
    """Return what the videos of a data set in results are called.

    >>> kind_of_videos("hmdb51"), kind_of_videos(held_out_name("hmdb51"))
    ('test videos', 'held-out videos')
    """
    return "held-out videos" if (dataset or "").endswith(HELD_OUT) else "test videos"


def group_rows(rows: Iterable[Row], *, but: Sequence[str]) -> list[list[Any]]:
    """Group rows with equal descriptions; figures, counts and the keys ``but`` may differ.

    >>> rows = [{"M": 3, "seed": 0, "top1": 0.25}, {"M": 3, "seed": 1, "top1": 0.5}, {"M": 1, "seed": 0, "top1": 0.0}]
    >>> [[row["top1"] for row in group] for group in group_rows(rows, but=["seed"])]
    [[0.25, 0.5], [0.0]]
    """
    ignored = {*FIGURES, *COUNTS, *but}
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        described = {name: value for name, value in row.items() if name not in ignored and not varies(row, name)}
        key = tuple(sorted((name, str(value)) for name, value in described.items()))
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def varies(row: Row, name: str) -> bool:
    """Return whether a field that is not a metric is a mean over videos: the number of clips, where it differs.

    >>> varies({"clips": 4.25}, "clips"), varies({"clips": 6}, "clips")
    (True, False)
    """
    return name == "clips" and isinstance(row.get(name), float)


def with_mean_clips(described: Mapping[str, Any], rows: Iterable[Row]) -> dict[str, Any]:
    """Return the description of a group of rows, with their mean number of clips where it varies."""
    clips = [float(row["clips"]) for row in rows if varies(row, "clips")]
    return {**described, "clips": statistics.fmean(clips)} if clips else dict(described)


def mean_over_splits(rows: Iterable[Row], *, required: Iterable[Any] = ()) -> list[dict[str, Any]]:
    """Average each figure over the splits for every seed, then over the seeds.

    The mean over the splits is one result of the protocol ("mean over the three official splits"); the spread over the
    seeds shows how well it repeats. The spread over splits does not show that and is not reported.

    Rows without a split are ignored, and so are data sets with a single split and seeds without results on every split
    of their data set, ``required`` ones included: a mean over other splits is a mean over other videos.

    Returns:
        One row for each group of rows that differ only in split and seed: their description, ``splits`` and ``seeds``
        ("1 2 3"), each of `FIGURES` (None if it is None in some row) with its standard deviation over seeds as
        ``<figure>_std`` (None with one seed), and the number of videos over all splits.
    """
    with_split = [row for row in rows if row.get("split") is not None]
    all_splits = splits_of(with_split)
    means = []
    for group in group_rows(with_split, but=("split", "seed")):
        splits = sorted({*all_splits[group[0]["dataset"]], *required})
        by_seed: dict[Any, dict[Any, Row]] = {}
        for row in group:  # of two equal runs, the later one counts
            by_seed.setdefault(row["seed"], {})[row["split"]] = row
        complete = {seed: by_split for seed, by_split in by_seed.items() if len(by_split) == len(splits)}
        if len(splits) < 2 or not complete:
            continue
        averaged = (*FIGURES, *COUNTS, "split", "seed")
        mean = {name: value for name, value in group[0].items() if name not in averaged}
        mean = with_mean_clips(mean, [row for by_split in complete.values() for row in by_split.values()])
        mean |= {"splits": " ".join(map(str, splits)), "seeds": " ".join(map(str, sorted(complete)))}
        for figure in FIGURES:
            values: list[list[Any]] = [[row.get(figure) for row in by_split.values()] for by_split in complete.values()]
            per_seed = None if any(None in by_split for by_split in values) else [statistics.fmean(v) for v in values]
            mean[figure] = per_seed and statistics.fmean(per_seed)
            mean[f"{figure}_std"] = statistics.stdev(per_seed) if per_seed and len(per_seed) > 1 else None
        first = next(iter(complete.values()))
        mean |= {name: sum(row.get(name) or 0 for row in first.values()) for name in COUNTS}
        means.append(mean)
    return means


def splits_of(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Return the splits of each data set that occur in rows.

    >>> rows = [{"dataset": "ucf101", "split": 2}, {"dataset": "ucf101", "split": 1}, {"dataset": "a", "split": None}]
    >>> splits_of(rows)
    {'ucf101': [1, 2]}
    """
    found: dict[str, set[Any]] = {}
    for row in rows:
        if row.get("split") is not None:
            found.setdefault(row["dataset"], set()).add(row["split"])
    return {dataset: sorted(splits) for dataset, splits in found.items()}
