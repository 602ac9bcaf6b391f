"""From clip scores to rows of results: pure functions."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsn_lightning.consensus import Consensus, consensus_log_probabilities
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.splits import HEADINGS, group_rows, varies
from dsn_lightning.metrics import video_metrics
from dsn_lightning.selections import Scheme, Selection, VideoScores
from dsn_lightning.text_tables import TextTable, count_text, percent
from dsn_lightning.video.sections import IntArray

Row = dict[str, Any]

FIELDS = (
    *("dataset", "split", "modality", "selection", "classifier", "algorithm", "backbone", "observation", "estimator"),
    "reward",
    *("seed", "gamma", "train_M", "train_N", "M", "N", "clips", "crops"),
    *("top1", "top5", "mean_class", "map", "hit_rate", "gmacs_classifier", "gmacs_observation", "gmacs"),
    *("videos", "videos_missing", "videos_failed", "seconds_per_video"),
)
"""The keys of a row of results.json, in order. Rates are fractions; a figure that does not apply is None."""


def evaluate_rows(
    scores: ClipScores,
    selections: Iterable[Selection],
    schemes: Sequence[Scheme],
    *,
    can: Callable[[Selection, str], bool],
    describe: Callable[[Selection, Scheme, str, float], Row],
    consensus: Consensus,
) -> list[Row]:
    """Return a row for each scheme, selection method and classifier whose networks are available, as ``can`` says.

    ``describe`` returns the row's other fields, from the method, scheme, classifier and number of clips.
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


def measure(scores: ClipScores, selection: Selection, scheme: Scheme, classifier: str, *, consensus: Consensus) -> Row:
    """Return ``clips, top1, top5, mean_class, map, hit_rate`` of one selection method.

    For a method that draws at random, the metrics of the draws are averaged, not the scores.
    """
    starts, draws = select_and_classify(scores.videos(), selection, scheme, classifier, consensus=consensus)
    targets = torch.from_numpy(scores.targets)
    sampler, of_scheme = str(selection.sampler), (scheme.num_sections, scheme.clips_per_section)
    may_skip = any(of_scheme in video.nothing.get(sampler, {}) for video in scores.videos())
    clips = float(np.mean([kept.shape[1] for kept in starts])) if may_skip else starts[0].shape[1]
    return {"clips": clips, **mean_metrics(draws, targets), "hit_rate": hit_rate(scores, starts, scheme)}


def select_and_classify(
    videos: Sequence[VideoScores], selection: Selection, scheme: Scheme, classifier: str, *, consensus: Consensus
) -> tuple[list[IntArray], list[Tensor]]:
    """Return each video's kept clips (D, K), and each draw's class probabilities H (V, J) (Eq. 4)."""
    starts = [selection.select(video, scheme, classifier) for video in videos]
    draws = []
    for d in range(len(starts[0])):
        logits = [video.logits_at(classifier, kept[d]) for video, kept in zip(videos, starts, strict=True)]  # (K, J)
        draws.append(answers_of(logits, consensus=consensus).exp())
    return starts, draws


def answers_of(logits: Sequence[NDArray[np.float32]], *, consensus: Consensus) -> Tensor:
    """Return log H, (V, J), of videos from the logits of their kept clips, (K, J); K may differ (Eq. 4)."""
    counts = torch.tensor([len(of_video) for of_video in logits])
    if (counts == counts[0]).all():
        return consensus_log_probabilities(torch.from_numpy(np.stack(logits)), consensus=consensus)
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(of_video) for of_video in logits], batch_first=True)
    kept = torch.arange(padded.shape[1]) < counts[:, None]  # (V, K)
    return consensus_log_probabilities(padded, consensus=consensus, kept=kept)


def mean_metrics(draws: Sequence[Tensor], targets: Tensor) -> dict[str, float | None]:
    """Return the metrics of each draw's probabilities (V, J), averaged over draws."""
    figures = [video_metrics(probabilities, targets) for probabilities in draws]
    return {
        name: None if value is None else float(np.mean([draw[name] for draw in figures]))
        for name, value in figures[0].items()
    }


def hit_rate(scores: ClipScores, starts: Sequence[IntArray], scheme: Scheme) -> float | None:
    """Return the share of kept clips that show the action, among those kept in a section that contains it.

    A clip shows the action if at least half of it lies in an annotated span; a section contains it if one of its M:N
    candidates shows it. None if no video has spans.
    """
    counts = hit_counts(scores, starts, scheme)
    if counts is None:
        return None
    hits, possible = (int(count) for count in counts.sum(0))
    return hits / possible if possible else None


def hit_counts(scores: ClipScores, starts: Sequence[IntArray], scheme: Scheme) -> NDArray[np.int64] | None:
    """Count, for each video, the hits and the possible hits of all draws, (V, 2); see `hit_rate`.

    None if no video has spans.
    """
    counts = np.zeros((len(starts), 2), np.int64)
    has_spans = False
    for v, kept in enumerate(starts):
        num_frames = int(scores.num_frames[v])
        candidate_shows = scores.shows_action(v, scheme.grid(num_frames))
        if candidate_shows is None:
            continue
        has_spans = True
        section_contains: NDArray[np.bool_] = np.asarray(candidate_shows.any(1))  # (M,)
        shows = scores.shows_action(v, kept)
        assert shows is not None
        possible = section_contains[np.stack([scheme.sections_of(draw, num_frames) for draw in kept])]  # (D, K)
        counts[v] = (shows & possible).sum(), possible.sum()
    return counts if has_spans else None


def mean_and_spread(rows: Iterable[Row]) -> list[tuple[Row, dict[str, NDArray[np.float64]]]]:
    """Group the rows that differ only in the seed and the figures: the first row, and each rate's values in all."""
    return [
        (_with_mean_clips(group), {name: np.array([row[name] for row in group], np.float64) for name in HEADINGS})
        for group in group_rows(rows, but=("seed",))
    ]


def _with_mean_clips(group: Sequence[Row]) -> Row:
    """Return the first row, with the mean number of clips and mean costs if they differ between seeds."""
    if not varies(group[0], "clips"):
        return group[0]
    means = {name: float(np.mean([row[name] for row in group])) for name in ("clips", "gmacs_classifier", "gmacs")}
    return {**group[0], **means}


def results_table(rows: Sequence[Row], *, title: str = "") -> TextTable:
    """Return a table with one line per method: mean ± standard deviation over seeds, in percent."""
    columns = {name: heading for name, heading in HEADINGS.items() if any(row[name] is not None for row in rows)}
    lines = []
    for row, figures in mean_and_spread(rows):
        cost = "-" if row["gmacs"] is None else f"{row['gmacs']:.3g}"
        names = [row["selection"], row["classifier"], f"{row['M']}:{row['N']}", count_text(row["clips"])]
        lines.append([*names, *(_percent(figures[name]) for name in columns), cost])
    header = ["selection", "classifier", "M:N", "clips", *columns.values(), "GMACs"]
    return TextTable(header, lines, num_names=4, title=title)


def _percent(values: NDArray[np.float64]) -> str:
    if np.isnan(values).any():
        return percent(None)
    return percent(values.mean(), values.std(ddof=1) if len(values) > 1 else None)
