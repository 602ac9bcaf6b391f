"""From clip scores to rows of results: pure functions."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from dsn_lightning.algorithms.dsn import Consensus, consensus_log_probabilities
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.splits import group_rows
from dsn_lightning.metrics import video_metrics
from dsn_lightning.selections.scheme import Scheme, Selection, VideoScores
from dsn_lightning.video.sections import IntArray

Row = dict[str, Any]

FIELDS = (
    "dataset", "split", "modality", "selection", "classifier", "algorithm", "backbone", "observation", "estimator",
    "seed", "gamma", "train_M", "train_N", "M", "N", "clips", "crops", "top1", "top5", "mean_class", "map", "hit_rate",
    "gmacs_classifier", "gmacs_observation", "gmacs", "videos", "videos_missing", "videos_failed", "seconds_per_video",
)  # fmt: skip
"""The keys of a row of results.json, in order. Rates are fractions; a figure that does not apply is None."""


def is_fused(row: Row) -> bool:
    """Whether a row is of several streams: the best clips of each are not the best of all together.

    >>> is_fused({"modality": "rgb+flow"}), is_fused({"modality": "rgb"})
    (True, False)
    """
    return "+" in str(row.get("modality"))


def measure(scores: ClipScores, selection: Selection, scheme: Scheme, classifier: str, *, consensus: Consensus) -> Row:
    """Return ``clips, top1, top5, mean_class, map, hit_rate`` of one selection method.

    Where the method draws at random, the metrics of each draw are averaged, not the scores.
    """
    videos = scores.videos()
    starts = [selection.select(video, scheme, classifier) for video in videos]  # each (D, K)
    draws = [
        draw_probabilities(videos, [own[draw] for own in starts], classifier, consensus=consensus)
        for draw in range(len(starts[0]))
    ]
    targets = torch.from_numpy(scores.targets)
    return {"clips": starts[0].shape[1], **mean_metrics(draws, targets), "hit_rate": hit_rate(scores, starts, scheme)}


def draw_probabilities(
    videos: Sequence[VideoScores], starts: Sequence[IntArray], classifier: str, *, consensus: Consensus
) -> Tensor:
    """Return H (V, J), each video's class probabilities from its clips at ``starts``, each (K,) (Eq. 4)."""
    kept = [video.of(classifier, own) for video, own in zip(videos, starts, strict=True)]  # each (K, J)
    return consensus_log_probabilities(torch.from_numpy(np.stack(kept)), consensus=consensus).exp()


def mean_metrics(draws: Sequence[Tensor], targets: Tensor) -> dict[str, float | None]:
    """Return the metrics of each draw's probabilities (V, J), averaged over draws."""
    figures = [video_metrics(probabilities, targets) for probabilities in draws]
    return {
        name: None if value is None else float(np.mean([draw[name] for draw in figures]))
        for name, value in figures[0].items()
    }


def hit_rate(scores: ClipScores, starts: Sequence[IntArray], scheme: Scheme) -> float | None:
    """Share of kept clips that show the action, among those kept in a section that holds it.

    A clip shows the action when at least half of it lies in an annotated span; a section holds it when one of its M:N
    candidates shows it. None where no video has spans.
    """
    counts = hit_counts(scores, starts, scheme)
    if counts is None:
        return None
    hits, held = (int(count) for count in counts.sum(0))
    return hits / held if held else None


def hit_counts(scores: ClipScores, starts: Sequence[IntArray], scheme: Scheme) -> NDArray[np.int64] | None:
    """Count each video's kept clips, of all draws, that show the action, and those in a section that holds it, (V, 2).

    None where no video has spans.
    """
    counts = np.zeros((len(starts), 2), np.int64)
    known = False
    for v, own in enumerate(starts):
        num_frames = int(scores.num_frames[v])
        in_grid = scores.shows_action(v, scheme.grid(num_frames))
        if in_grid is None:
            continue
        known = True
        holds: NDArray[np.bool_] = np.asarray(in_grid.any(1))  # (M,)
        shown = scores.shows_action(v, own)
        assert shown is not None
        held = holds[np.stack([scheme.sections_of(draw, num_frames) for draw in own])]  # (D, K)
        counts[v] = (shown & held).sum(), held.sum()
    return counts if known else None


def to_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV with a header; None becomes an empty cell."""
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def mean_and_spread(rows: Iterable[Row]) -> list[tuple[Row, dict[str, NDArray[np.float64]]]]:
    """Group rows that differ in nothing but the seed and the figures.

    Returns:
        The first row of each group, and each figure's values over the group's rows.
    """
    figures = ("top1", "top5", "mean_class", "map", "hit_rate")
    return [
        (group[0], {name: np.array([row[name] for row in group], np.float64) for name in figures})
        for group in group_rows(rows, but=("seed",))
    ]


def rich_table(rows: Sequence[Row], *, title: str) -> Table:
    """Return the table that a person reads: a line a method, mean +- standard deviation over seeds, in percent."""
    table = Table(title=title, title_justify="left")
    header, *lines = _cells(rows)
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i < _NUM_NAMES else "right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def markdown_table(rows: Sequence[Row]) -> str:
    """Return the same as Markdown."""
    header, *lines = _cells(rows)
    rule = ["---" if i < _NUM_NAMES else "---:" for i in range(len(header))]
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *lines))


_NUM_NAMES = 4  # columns before those of figures


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    columns: Mapping[str, str] = {"top1": "top-1", "top5": "top-5", "mean_class": "mean class", "map": "mAP",
                                  "hit_rate": "hit rate"}  # fmt: skip
    columns = {k: v for k, v in columns.items() if any(row[k] is not None for row in rows)}
    cells = [["selection", "classifier", "M:N", "clips", *columns.values(), "GMACs"]]
    for row, figures in mean_and_spread(rows):
        own = [_percent(figures[name]) for name in columns]
        cost = "-" if row["gmacs"] is None else f"{row['gmacs']:.3g}"
        scheme = f"{row['M']}:{row['N']}"
        cells.append([row["selection"], row["classifier"], scheme, str(row["clips"]), *own, cost])
    return cells


def _percent(values: NDArray[np.float64]) -> str:
    if np.isnan(values).any():
        return "-"
    spread = f" ± {100 * values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f}{spread}"


def evaluate_rows(
    scores: ClipScores,
    selections: Iterable[Selection],
    schemes: Sequence[Scheme],
    *,
    can: Callable[[Selection, str], bool],
    describe: Callable[[Selection, Scheme, str, int], Row],
    consensus: Consensus,
) -> list[Row]:
    """Return a row for each scheme, selection method and classifier that ``can`` be had.

    Args:
        scores: of all test videos.
        selections: methods to compare.
        schemes: the M:N of each test.
        can: whether a row's networks are there.
        describe: the row's other fields, from its number of clips.
        consensus: how clips are averaged (Eq. 4).
    """
    rows = []
    for scheme in schemes:
        for selection in selections:
            for classifier in selection.classifiers:
                if can(selection, classifier):
                    row = measure(scores, selection, scheme, classifier, consensus=consensus)
                    row |= describe(selection, scheme, classifier, row["clips"])
                    rows.append({name: row[name] for name in FIELDS})
    return rows
