"""Two-stream fusion over stored scores: the weighted mean of the class probabilities of several evaluations.

Each stream keeps the clips that its own sampler or grid chooses; the streams' predictions for a video are averaged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.outcomes import NOT_SELECTED, WITHOUT_ROWS, Method, Outcome, StoredEvaluation
from dsn_lightning.evaluation.results import FIELDS, Row, mean_metrics
from dsn_lightning.evaluation.splits import varies, with_mean_clips

_MATCHED = ("selection", "classifier", "M", "N", "clips", "crops")
_SUMMED = ("gmacs_classifier", "gmacs_observation", "gmacs", "seconds_per_video")


@dataclass(frozen=True)
class Fusion:
    """The result of a fusion."""

    evaluation: StoredEvaluation  #: videos and methods that all streams have, in the first stream's order
    left_out: list[str]  #: ids of videos that some stream does not have; they only count as failed or missing
    unmatched: list[str]  #: methods that some stream does not have, each with the reason

    @property
    def rows(self) -> list[Row]:
        """The rows of ``results.json``."""
        return [outcome.row for outcome in self.evaluation.outcomes.values()]


def fuse(streams: Sequence[StoredEvaluation], weights: Sequence[float], *, name: str = "fusion") -> Fusion:
    """Average the streams' class probabilities, video by video, for each method that all of them have.

    Rows of two streams match if their selection, classifier, M, N, clips and crops are equal. For a random method the
    streams' first draws are averaged, then their second draws, and so on. Costs are summed. There is no hit rate,
    because each stream keeps its own clips. A stream may be a fusion itself. Of the weights, which are >= 0, only the
    ratios matter.

    Raises:
        UsageError: the streams are not of the same data set, or have no video or no row in common.
    """
    _check(streams, weights)
    shares = [float(weight) for weight in np.asarray(weights, np.float64) / np.sum(weights)]
    indices, left_out = common_videos(streams)
    targets = streams[0].targets[indices[0]]
    outcomes, unmatched = {}, [f"{stream.name}: {reason}" for stream in streams for reason in stream.left_out]
    for method in dict.fromkeys(method for stream in streams for method in stream.outcomes):
        if method.selection in WITHOUT_ROWS:  # the best clips of each stream are not those of all
            continue
        if mismatch := _mismatch(method, streams):
            unmatched.append(f"{method}: {mismatch}")
            continue
        outcomes[method] = _fused([stream.outcomes[method] for stream in streams], indices, shares, targets)
    if not outcomes:
        reasons = sorted(unmatched, key=lambda reason: reason.endswith(NOT_SELECTED))[:3]
        raise UsageError(
            f"fusion: {_names(streams)} have no row in common; rows match if {', '.join(_MATCHED)} are equal"
            + "".join(f"; {reason}" for reason in reasons)
        )
    test = {field: _joined([stream.test.get(field) for stream in streams], numbers=True) for field in streams[0].test}
    names = dict.fromkeys(network for stream in streams for network in stream.networks)
    evaluation = StoredEvaluation(
        name=name,
        classes=streams[0].classes,
        video_id=streams[0].video_id[indices[0]],
        targets=targets,
        test=test | {"fusion_weights": "+".join(f"{share:g}" for share in shares)},
        networks={n: "+".join(s.networks[n] for s in streams if n in s.networks) for n in names},
        outcomes=outcomes,
        left_out=tuple(unmatched),
    )
    return Fusion(evaluation, left_out, unmatched)


def weighted_mean(probabilities: Sequence[NDArray[np.float32]], shares: Sequence[float]) -> NDArray[np.float32]:
    """Return the streams' probabilities, each (D, V, J), averaged with shares that sum to 1.

    >>> weighted_mean([np.float32([[[1, 0]]]), np.float32([[[0.2, 0.8]]])], [0.5, 0.5])
    array([[[0.6, 0.4]]], dtype=float32)
    """
    return np.asarray(sum(w * p for w, p in zip(shares, probabilities, strict=True)), np.float32)


def common_videos(streams: Sequence[StoredEvaluation]) -> tuple[list[NDArray[np.int64]], list[str]]:
    """Return, for each stream, the indices of the common videos in the same order, and the ids of all other videos."""
    ids = [[str(video) for video in stream.video_id] for stream in streams]
    common = set(ids[0]).intersection(*ids[1:])
    order = [video for video in ids[0] if video in common]
    if not order:
        raise UsageError(f"fusion: {_names(streams)} have no video in common")
    indices = []
    for videos in ids:
        index = {video: v for v, video in enumerate(videos)}
        indices.append(np.array([index[video] for video in order], np.int64))
    return indices, sorted(set().union(*ids) - common)


def _check(streams: Sequence[StoredEvaluation], weights: Sequence[float]) -> None:
    if len(streams) < 2:
        raise UsageError(f"fusion: needs at least two evaluations, got {len(streams)}")
    if len(weights) != len(streams):
        raise UsageError(f"fusion_weights={list(weights)}: expected {len(streams)} weights, one per evaluation")
    if not all(np.isfinite(weights)) or min(weights) < 0 or sum(weights) == 0:
        raise UsageError(f"fusion_weights={list(weights)}: expected numbers of at least 0, and one above 0")
    for stream in streams:
        for outcome in stream.outcomes.values():
            if missing := [name for name in FIELDS if name not in outcome.row]:
                raise UsageError(f"fusion: {stream.name}: its results have no {missing[0]}; evaluate it again")
    for stream in streams[1:]:
        _check_same_data(streams[0], stream)


def _check_same_data(first: StoredEvaluation, stream: StoredEvaluation) -> None:
    if stream.classes != first.classes:
        raise UsageError(f"fusion: {stream.name} and {first.name} have different classes")
    for field in ("dataset", "split"):
        expected, found = ({outcome.row[field] for outcome in s.outcomes.values()} for s in (first, stream))
        if expected and found and expected != found:
            values = f"{', '.join(map(str, expected))} and {', '.join(map(str, found))}"
            raise UsageError(f"fusion: {first.name} and {stream.name} differ in {field}: {values}")
    indices, _ = common_videos([first, stream])
    differ = (first.targets[indices[0]] > 0) != (stream.targets[indices[1]] > 0)
    if differ.any():
        video = first.video_id[indices[0]][differ.any(1)][0]
        raise UsageError(f"fusion: {first.name} and {stream.name} have different labels for video {video}")


def _mismatch(method: Method, streams: Sequence[StoredEvaluation]) -> str:
    """Return why the streams' outcomes of a method cannot be fused; empty if they can.

    Raises:
        UsageError: the method is random, with different numbers of draws.
    """
    without = [stream.name for stream in streams if method not in stream.outcomes]
    if without:
        return f"not in {' and '.join(without)}"
    outcomes = [stream.outcomes[method] for stream in streams]
    matched = [tuple(outcome.row[name] for name in _MATCHED if not varies(outcome.row, name)) for outcome in outcomes]
    if len({*matched}) > 1:
        return "different numbers of clips or crops"
    if len({len(outcome.probabilities) for outcome in outcomes}) > 1:
        raise UsageError(f"fusion: {method.selection} has different numbers of draws in {_names(streams)}")
    return ""


def _fused(
    outcomes: Sequence[Outcome],
    indices: Sequence[NDArray[np.int64]],
    shares: Sequence[float],
    targets: NDArray[np.float32],
) -> Outcome:
    """Return the outcome of one method from those of the streams."""
    streams = [outcome.probabilities[:, index] for outcome, index in zip(outcomes, indices, strict=True)]
    probabilities = weighted_mean(streams, shares)
    figures = mean_metrics([torch.from_numpy(draw) for draw in probabilities], torch.from_numpy(targets))
    row = _row([outcome.row for outcome in outcomes], figures, num_videos=len(targets))
    return Outcome(probabilities, None, None, outcomes[0].kind, outcomes[0].sampler, row)


def _row(rows: Sequence[Row], figures: Mapping[str, float | None], *, num_videos: int) -> Row:
    """Return a row of the fused results from those of the streams."""
    fused: Row = {name: _joined([row[name] for row in rows]) for name in FIELDS}
    fused = {**with_mean_clips(fused, rows), **figures}
    fused |= {name: None if None in (v := [row[name] for row in rows]) else sum(v) for name in _SUMMED}
    fused |= {"modality": "+".join(row["modality"] for row in rows), "hit_rate": None, "videos": num_videos}
    unscored = max(row["videos"] + row["videos_missing"] + row["videos_failed"] for row in rows) - num_videos
    fused["videos_failed"] = min(unscored, sum(row["videos_failed"] for row in rows))
    fused["videos_missing"] = unscored - fused["videos_failed"]
    return fused


def _joined(values: Sequence[Any], *, numbers: bool = False) -> Any:
    """Return the common value; different strings, and with ``numbers`` other values too, are joined; otherwise None."""
    different = list(dict.fromkeys(values))
    if len(different) == 1:
        return different[0]
    return "+".join(map(str, different)) if numbers or all(isinstance(v, str) for v in different) else None


def _names(streams: Sequence[StoredEvaluation]) -> str:
    return " and ".join(stream.name for stream in streams)
