"""Two-stream fusion over stored scores: the weighted mean of the class probabilities of several evaluations.

Each stream keeps the clips that its own sampler or grid chooses; what is averaged is what it makes of the video.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.table import FIELDS, Row, draw_probabilities, mean_metrics
from dsn_lightning.selection import Selection, VideoScores

_MATCHED = ("selection", "classifier", "M", "N", "clips", "crops")
_SUMMED = ("gmacs_classifier", "gmacs_observation", "gmacs", "seconds_per_video")


@dataclass(frozen=True)
class Stream:
    """One evaluation, of RGB or of flow.

    Attributes:
        name: for messages.
        rows: of its results.
        scores: that they came from.
    """

    name: str
    rows: Sequence[Row]
    scores: ClipScores


@dataclass(frozen=True)
class Fusion:
    """What came out.

    Attributes:
        rows: of results, in the order of the first stream's.
        num_videos: that all streams have.
        left_out: ids of videos that some stream lacks; they count in no figure but as failed or missing.
        unmatched: rows of the first stream that another lacks, or whose method is not among the selections, as
            ``selection with the X classifier, M:N``.
    """

    rows: list[Row]
    num_videos: int
    left_out: list[str]
    unmatched: list[str]


def fuse(streams: Sequence[Stream], weights: Sequence[float], selections: Iterable[Selection]) -> Fusion:
    """Average the streams' class probabilities, video by video, for each row that all of them have.

    A row is the same in two streams if selection, classifier, M, N, clips and crops are. Where a method draws at
    random, the streams' first draws belong together, and so on. Costs are summed; a hit rate does not apply, since
    each stream keeps clips of its own.

    Args:
        streams: at least two.
        weights: of each, >= 0; their sum counts for nothing.
        selections: the methods.

    Raises:
        UsageError: the streams are not of the same data set, or share no video or no row.
    """
    _check(streams, weights)
    share = np.asarray(weights, np.float64) / np.sum(weights)
    places, left_out = common_videos(streams)
    every = [stream.scores.videos() for stream in streams]
    videos = [[own[v] for v in at] for own, at in zip(every, places, strict=True)]
    targets = torch.from_numpy(streams[0].scores.targets[places[0]])
    by_name = {selection.name: selection for selection in selections}
    others = [{_key(row): row for row in stream.rows} for stream in streams[1:]]
    rows, unmatched = [], []
    for row in streams[0].rows:
        matching = [row, *(known[_key(row)] for known in others if _key(row) in known)]
        if row["selection"] not in by_name or len(matching) < len(streams):
            unmatched.append(f"{row['selection']} with the {row['classifier']} classifier, {row['M']}:{row['N']}")
            continue
        selection = by_name[row["selection"]]
        answers = [
            _answers(stream, seen, own, selection) for stream, seen, own in zip(streams, videos, matching, strict=True)
        ]
        if len({len(draws) for draws in answers}) > 1:
            raise UsageError(f"fusion: {row['selection']} has other numbers of draws in {_names(streams)}")
        draws = [weighted_mean(draw, share) for draw in zip(*answers, strict=True)]
        rows.append(_row(matching, mean_metrics(draws, targets), num_videos=len(places[0])))
    if not rows:
        raise UsageError(
            f"fusion: {_names(streams)} share no row; a row is the same if {', '.join(_MATCHED)} are the same"
        )
    return Fusion(rows, len(places[0]), left_out, unmatched)


def weighted_mean(probabilities: Sequence[Tensor], share: NDArray[np.float64]) -> Tensor:
    """Return the streams' probabilities, each (V, J), averaged with shares of sum 1.

    >>> weighted_mean([torch.tensor([[1.0, 0.0]]), torch.tensor([[0.2, 0.8]])], np.array([0.5, 0.5]))
    tensor([[0.6000, 0.4000]])
    """
    return sum((float(w) * p for w, p in zip(share, probabilities, strict=True)), torch.zeros(()))


def common_videos(streams: Sequence[Stream]) -> tuple[list[NDArray[np.int64]], list[str]]:
    """Return, for each stream, the places of the videos that all have, in the same order; and the ids of the others."""
    ids = [[str(v) for v in stream.scores.video_id] for stream in streams]
    shared = set(ids[0]).intersection(*ids[1:])
    order = [v for v in ids[0] if v in shared]
    if not order:
        raise UsageError(f"fusion: {_names(streams)} have no video in common")
    places = []
    for own in ids:
        at = {v: i for i, v in enumerate(own)}
        places.append(np.array([at[v] for v in order], np.int64))
    return places, sorted(set().union(*ids) - shared)


def _check(streams: Sequence[Stream], weights: Sequence[float]) -> None:
    if len(streams) < 2:
        raise UsageError(f"fusion: takes two or more evaluations, given is {len(streams)}")
    if len(weights) != len(streams):
        raise UsageError(f"fusion_weights={list(weights)}: must be as many as there are evaluations, {len(streams)}")
    if not all(np.isfinite(weights)) or min(weights) < 0 or sum(weights) == 0:
        raise UsageError(f"fusion_weights={list(weights)}: must be numbers of at least 0, and one above")
    first = streams[0]
    for stream in streams[1:]:
        if list(stream.scores.classes) != list(first.scores.classes):
            raise UsageError(f"fusion: {stream.name} has other classes than {first.name}")
        for name in ("dataset", "split"):
            own, other = ({row[name] for row in s.rows} for s in (first, stream))
            if own != other:
                raise UsageError(
                    f"fusion: {first.name} and {stream.name} are of another {name}: "
                    f"{', '.join(map(str, own))} and {', '.join(map(str, other))}"
                )
        places, _ = common_videos([first, stream])
        differ = (first.scores.targets[places[0]] > 0) != (stream.scores.targets[places[1]] > 0)
        if differ.any():
            wrong = first.scores.video_id[places[0]][differ.any(1)][0]
            raise UsageError(f"fusion: {first.name} and {stream.name} have other labels for video {wrong}")


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _MATCHED)


def _answers(stream: Stream, videos: Sequence[VideoScores], row: Row, selection: Selection) -> list[Tensor]:
    """Return the probabilities (V, J) of each draw."""
    scores, classifier = stream.scores, row["classifier"]
    scheme = scores.scheme(row["M"], row["N"])
    try:
        starts = [selection.select(video, scheme, classifier) for video in videos]  # each (D, K)
        return [
            draw_probabilities(videos, [own[d] for own in starts], classifier, consensus=scores.consensus)
            for d in range(len(starts[0]))
        ]
    except KeyError as error:
        raise UsageError(
            f"fusion: {stream.name} holds no scores of what selection={selection.name} asks for; was it evaluated with "
            "other settings of that method?"
        ) from error


def _row(rows: Sequence[Row], figures: Mapping[str, float | None], *, num_videos: int) -> Row:
    """Return a row of the fused results from the streams' own."""
    fused: Row = {name: _joined([row[name] for row in rows]) for name in FIELDS}
    fused |= figures
    fused |= {name: None if None in (v := [row[name] for row in rows]) else sum(v) for name in _SUMMED}
    fused["modality"] = "+".join(row["modality"] for row in rows)
    fused["hit_rate"] = None
    fused["videos"] = num_videos
    without = max(row["videos"] + row["videos_missing"] + row["videos_failed"] for row in rows) - num_videos
    fused["videos_failed"] = min(without, sum(row["videos_failed"] for row in rows))
    fused["videos_missing"] = without - fused["videos_failed"]
    return fused


def _joined(values: Sequence[Any]) -> Any:
    """Return what the streams agree on; else names joined, and None for numbers."""
    different = list(dict.fromkeys(values))
    if len(different) == 1:
        return different[0]
    return "+".join(different) if all(isinstance(value, str) for value in different) else None


def _names(streams: Sequence[Stream]) -> str:
    return " and ".join(stream.name for stream in streams)
