"""Two-stream fusion over stored scores: the weighted mean of the class probabilities of several evaluations.

Each stream keeps the clips that its own sampler or grid chooses; what is averaged is what it makes of the video.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.outcomes import NOT_WANTED, Method, Outcome, StoredEvaluation
from dsn_lightning.evaluation.results import FIELDS, Row, mean_metrics
from dsn_lightning.selections.most_confident import MostConfident

_MATCHED = ("selection", "classifier", "M", "N", "clips", "crops")
_SUMMED = ("gmacs_classifier", "gmacs_observation", "gmacs", "seconds_per_video")


@dataclass(frozen=True)
class Fusion:
    """What came out.

    Attributes:
        evaluation: of the videos that all streams have, with the methods that all have, in the first stream's order.
        left_out: ids of videos that some stream lacks; they count in no figure but as failed or missing.
        unmatched: methods that some stream lacks, each with the reason.
    """

    evaluation: StoredEvaluation
    left_out: list[str]
    unmatched: list[str]

    @property
    def rows(self) -> list[Row]:
        """The rows of ``results.json``."""
        return [outcome.row for outcome in self.evaluation.outcomes.values()]


def fuse(streams: Sequence[StoredEvaluation], weights: Sequence[float], *, name: str = "fusion") -> Fusion:
    """Average the streams' class probabilities, video by video, for each method that all of them have.

    A row is the same in two streams if selection, classifier, M, N, clips and crops are. Where a method draws at
    random, the streams' first draws belong together, and so on. Costs are summed; a hit rate does not apply, since
    each stream keeps clips of its own.

    Args:
        streams: at least two; one may be a fusion itself.
        weights: of each, >= 0; their sum counts for nothing.
        name: of the evaluation that comes out.

    Raises:
        UsageError: the streams are not of the same data set, or share no video or no row.
    """
    _check(streams, weights)
    share = [float(weight) for weight in np.asarray(weights, np.float64) / np.sum(weights)]
    places, left_out = common_videos(streams)
    targets = streams[0].targets[places[0]]
    outcomes: dict[Method, Outcome] = {}
    unmatched = [f"{stream.name}: {reason}" for stream in streams for reason in stream.left_out]
    for method in dict.fromkeys(method for stream in streams for method in stream.outcomes):
        if method.selection == MostConfident.name:  # each stream's surest clips are not those of both
            continue
        matching = [stream.outcomes[method] for stream in streams if method in stream.outcomes]
        if len(matching) < len(streams) or len({_key(outcome.row) for outcome in matching}) > 1:
            lacking = [stream.name for stream in streams if method not in stream.outcomes]
            why = f"not in {' and '.join(lacking)}" if lacking else "of other numbers of clips or crops"
            unmatched.append(f"{method}: {why}")
            continue
        if len({len(outcome.probabilities) for outcome in matching}) > 1:
            raise UsageError(f"fusion: {method.selection} has other numbers of draws in {_names(streams)}")
        probabilities = weighted_mean([o.probabilities[:, at] for o, at in zip(matching, places, strict=True)], share)
        figures = mean_metrics([torch.from_numpy(draw) for draw in probabilities], torch.from_numpy(targets))
        row = _row([outcome.row for outcome in matching], figures, num_videos=len(targets))
        outcomes[method] = Outcome(probabilities, None, None, matching[0].sampler, row)
    if not outcomes:
        why = "".join(f"; {reason}" for reason in sorted(unmatched, key=lambda own: own.endswith(NOT_WANTED))[:3])
        raise UsageError(
            f"fusion: {_names(streams)} share no row; a row is the same if {', '.join(_MATCHED)} are the same{why}"
        )
    evaluation = StoredEvaluation(
        name, streams[0].classes, streams[0].video_id[places[0]], targets,
        test={field: _joined([stream.test.get(field) for stream in streams], numbers=True) for field in streams[0].test}
        | {"fusion_weights": "+".join(f"{w:g}" for w in share)},
        networks=_networks(streams), outcomes=outcomes, left_out=tuple(unmatched),
    )  # fmt: skip
    return Fusion(evaluation, left_out, unmatched)


def weighted_mean(probabilities: Sequence[NDArray[np.float32]], share: Sequence[float]) -> NDArray[np.float32]:
    """Return the streams' probabilities, each (D, V, J), averaged with shares of sum 1.

    >>> weighted_mean([np.float32([[[1, 0]]]), np.float32([[[0.2, 0.8]]])], [0.5, 0.5])
    array([[[0.6, 0.4]]], dtype=float32)
    """
    return np.asarray(sum(w * p for w, p in zip(share, probabilities, strict=True)), np.float32)


def common_videos(streams: Sequence[StoredEvaluation]) -> tuple[list[NDArray[np.int64]], list[str]]:
    """Return, for each stream, the places of the videos that all have, in the same order; and the ids of the others."""
    ids = [[str(v) for v in stream.video_id] for stream in streams]
    shared = set(ids[0]).intersection(*ids[1:])
    order = [v for v in ids[0] if v in shared]
    if not order:
        raise UsageError(f"fusion: {_names(streams)} have no video in common")
    places = []
    for own in ids:
        at = {v: i for i, v in enumerate(own)}
        places.append(np.array([at[v] for v in order], np.int64))
    return places, sorted(set().union(*ids) - shared)


def _check(streams: Sequence[StoredEvaluation], weights: Sequence[float]) -> None:
    if len(streams) < 2:
        raise UsageError(f"fusion: takes two or more evaluations, given is {len(streams)}")
    if len(weights) != len(streams):
        raise UsageError(f"fusion_weights={list(weights)}: must be as many as there are evaluations, {len(streams)}")
    if not all(np.isfinite(weights)) or min(weights) < 0 or sum(weights) == 0:
        raise UsageError(f"fusion_weights={list(weights)}: must be numbers of at least 0, and one above")
    first = streams[0]
    for stream in streams[1:]:
        if stream.classes != first.classes:
            raise UsageError(f"fusion: {stream.name} has other classes than {first.name}")
        for name in ("dataset", "split"):
            own, other = ({outcome.row[name] for outcome in s.outcomes.values()} for s in (first, stream))
            if own and other and own != other:
                raise UsageError(
                    f"fusion: {first.name} and {stream.name} are of another {name}: "
                    f"{', '.join(map(str, own))} and {', '.join(map(str, other))}"
                )
        places, _ = common_videos([first, stream])
        differ = (first.targets[places[0]] > 0) != (stream.targets[places[1]] > 0)
        if differ.any():
            wrong = first.video_id[places[0]][differ.any(1)][0]
            raise UsageError(f"fusion: {first.name} and {stream.name} have other labels for video {wrong}")


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _MATCHED)


def _networks(streams: Sequence[StoredEvaluation]) -> dict[str, str]:
    """Return what stands for the weights of each network of all streams."""
    names = dict.fromkeys(name for stream in streams for name in stream.networks)
    return {name: "+".join(s.networks[name] for s in streams if name in s.networks) for name in names}


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


def _joined(values: Sequence[Any], *, numbers: bool = False) -> Any:
    """Return what the streams agree on; else words joined, and numbers, too, if so asked; otherwise None."""
    different = list(dict.fromkeys(values))
    if len(different) == 1:
        return different[0]
    return "+".join(map(str, different)) if numbers or all(isinstance(v, str) for v in different) else None


def _names(streams: Sequence[StoredEvaluation]) -> str:
    return " and ".join(stream.name for stream in streams)
