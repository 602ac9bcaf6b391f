"""A data set's splits: the mean over the official ones, and the name of what is held out of training."""

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

FIGURES = ("top1", "top5", "mean_class", "map", "hit_rate", "gmacs_classifier", "gmacs_observation", "gmacs",
           "seconds_per_video")  # fmt: skip
"""Keys of a row that are averaged."""

_COUNTS = ("videos", "videos_missing", "videos_failed")  # these are added up


HELD_OUT = "_held_out"
"""What a data set's name ends with in results on videos that were held out of its training."""


def held_out_name(dataset: str) -> str:
    """Return what a data set's held-out videos are called in results, so that no one takes them for the test videos."""
    return dataset + HELD_OUT


def kind_of_videos(dataset: str | None) -> str:
    """Return what to call the videos of a data set in results.

    >>> kind_of_videos("hmdb51"), kind_of_videos(held_out_name("hmdb51"))
    ('test videos', 'held-out videos')
    """
    return "held-out videos" if (dataset or "").endswith(HELD_OUT) else "test videos"


def group_rows(rows: Iterable[Row], *, but: Sequence[str]) -> list[list[Any]]:
    """Group rows that are equal in all that describes them, but for the keys ``but``; figures and counts may differ.

    >>> rows = [{"M": 3, "seed": 0, "top1": 0.25}, {"M": 3, "seed": 1, "top1": 0.5}, {"M": 1, "seed": 0, "top1": 0.0}]
    >>> [[row["top1"] for row in group] for group in group_rows(rows, but=["seed"])]
    [[0.25, 0.5], [0.0]]
    """
    left_out = {*FIGURES, *_COUNTS, *but}
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        key = tuple(sorted((name, str(value)) for name, value in row.items() if name not in left_out))
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def mean_over_splits(rows: Iterable[Row], *, wanted: Iterable[Any] = ()) -> list[dict[str, Any]]:
    """Average each figure over the splits for every seed, then over the seeds.

    The first makes one result of the protocol ("mean over the three official splits"); the spread over the second says
    how far it repeats. The spread over splits says nothing about that and is not given.

    Args:
        rows: of any number of runs. Those without a split are left out, and so are data sets with one split only and
            seeds that lack a split of their data set: a mean over other splits is a mean over other videos.
        wanted: splits that a mean needs, besides those that occur in the data set's rows.

    Returns:
        One row for each group of rows that differ in nothing but split and seed: what describes them, ``splits`` and
        ``seeds`` ("1 2 3"), each of `FIGURES` with its standard deviation over seeds as ``<figure>_std`` (None with one
        seed), and the number of videos over all splits. A figure that some row lacks is None. A group with no
        complete seed has no row.
    """
    with_split = [row for row in rows if row.get("split") is not None]
    all_splits = splits_of(with_split)
    means = []
    for group in group_rows(with_split, but=("split", "seed")):
        splits = sorted({*all_splits[group[0]["dataset"]], *wanted})
        by_seed: dict[Any, dict[Any, Row]] = {}
        for row in group:  # of two runs alike, the later
            by_seed.setdefault(row["seed"], {})[row["split"]] = row
        whole = {seed: own for seed, own in by_seed.items() if len(own) == len(splits)}
        if len(splits) < 2 or not whole:
            continue
        described = {name: value for name, value in group[0].items() if name not in ("split", "seed")}
        mean = {name: value for name, value in described.items() if name not in (*FIGURES, *_COUNTS)}
        mean |= {"splits": " ".join(map(str, splits)), "seeds": " ".join(map(str, sorted(whole)))}
        for figure in FIGURES:
            values = [[row.get(figure) for row in own.values()] for own in whole.values()]
            mean |= _mean_and_spread(figure, values)
        first = next(iter(whole.values()))
        mean |= {name: sum(row.get(name) or 0 for row in first.values()) for name in _COUNTS}
        means.append(mean)
    return means


def splits_of(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Return the splits that occur in rows, of each data set.

    >>> rows = [{"dataset": "ucf101", "split": 2}, {"dataset": "ucf101", "split": 1}, {"dataset": "a", "split": None}]
    >>> splits_of(rows)
    {'ucf101': [1, 2]}
    """
    found: dict[str, set[Any]] = {}
    for row in rows:
        if row.get("split") is not None:
            found.setdefault(row["dataset"], set()).add(row["split"])
    return {dataset: sorted(splits) for dataset, splits in found.items()}


def _mean_and_spread(figure: str, values: Sequence[Sequence[float | None]]) -> dict[str, float | None]:
    """Return a figure's mean and spread from its values, seed by seed and split by split."""
    if any(value is None for own in values for value in own):
        return {figure: None, f"{figure}_std": None}
    per_seed = [statistics.fmean(own) for own in values]  # type: ignore[arg-type]
    spread = statistics.stdev(per_seed) if len(per_seed) > 1 else None
    return {figure: statistics.fmean(per_seed), f"{figure}_std": spread}


def to_csv(means: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows of `mean_over_splits` as CSV with a header; None becomes an empty cell."""
    out = io.StringIO()
    names = dict.fromkeys(name for row in means for name in row)
    writer = csv.DictWriter(out, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(means)
    return out.getvalue()
