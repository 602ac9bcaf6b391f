"""The exact upper bound of top-1: is there a choice of one clip per section whose consensus is correct?

Most videos are decided at once: greedy or uniform clips are correct, or some class has a higher mean score than the
label whatever is chosen. The others are searched section by section (branch and bound). A choice is correct if its
margin, the score of the label minus that of each other class summed over the sections, is positive for every class. A
partial choice is abandoned when the best remaining clips cannot make the margin of some class positive, or that of a
weighted mean of the classes, for which the best clip of each section is known.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dsn_lightning.consensus import Consensus, consensus_log_probabilities
from dsn_lightning.metrics import top_k_hits
from dsn_lightning.selections import Oracle, Scheme, Uniform, VideoScores, softmax
from dsn_lightning.video.sections import IntArray

Floats = NDArray[np.float64]

_ROUNDING = 1e-5
"""Margins up to this size are ties in float32; the metric itself decides them."""
_MAX_TIES = 4096
"""Choices with such a margin that are tried for a label; with more of them, the first ones count."""
_WEIGHT_STEPS = 50


class ExactOracle(Oracle):
    """Clips, one per section, whose consensus is correct if there are such clips; else those of the greedy oracle.

    In each section it chooses among the N candidates and the clip of uniform sampling, so that its top-1 accuracy is at
    least that of uniform clips and of every method that keeps one candidate per section. With several labels the
    predicted class is one of them. It maximises top-1 accuracy, not mean average precision.
    """

    name = "oracle_exact"

    def __init__(self, consensus: Consensus) -> None:
        self.consensus = consensus

    def candidates(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the choices of all sections."""
        return self._choices(video_id, num_frames, scheme).ravel()

    def _choices(self, video_id: str, num_frames: int, scheme: Scheme) -> IntArray:
        """Return the clips that each section may keep, (M, N + 1), the uniform one last."""
        return np.column_stack([scheme.grid(num_frames), Uniform().candidates(video_id, num_frames, scheme)])

    def select(self, scores: VideoScores, scheme: Scheme, classifier: str) -> IntArray:
        """Return the clips, (1, M)."""
        starts = self._choices(scores.video_id, scores.num_frames, scheme)
        logits, positive = scores.logits_at(classifier, starts), scores.targets > 0
        greedy: IntArray = super().select(scores, scheme, classifier)
        sections = np.arange(len(starts))
        simple = np.stack([(starts == greedy[0][:, None]).argmax(1), np.full(len(starts), starts.shape[1] - 1)])
        choice = correct_choice(logits, positive, simple, consensus=self.consensus)
        return greedy if choice is None else starts[sections, choice][None]


def correct_choice(
    logits: NDArray[np.float32], positive: NDArray[np.bool_], simple: IntArray, *, consensus: Consensus
) -> IntArray | None:
    """Return a choice of one clip per section, (M,), whose consensus has one of the labels as its top-1; None if none.

    Args:
        logits: of K clips in each of M sections, (M, K, J).
        positive: the labels, (J,).
        simple: choices that are tried first, (C, M).
        consensus: how the chosen clips are averaged.

    >>> clips = np.log(np.array([[[0.1, 0.5, 0.4], [0.3, 0.6, 0.1]], [[0.4, 0.1, 0.5], [0.3, 0.3, 0.4]]], np.float32))
    >>> correct_choice(clips, np.array([True, False, False]), np.array([[0, 1]]), consensus="probabilities").tolist()
    [1, 0]
    """
    if not positive.any():
        return None
    correct = _are_correct(logits, simple, positive, consensus)
    if correct.any():
        return np.asarray(simple[correct.argmax()])
    values = softmax(logits) if consensus == "probabilities" else logits.astype(np.float64)
    rounding = _ROUNDING * max(1.0, float(np.abs(values).max()))
    margins = [values[..., label, None] - values[..., ~positive] for label in np.flatnonzero(positive)]
    for margin in margins:
        for choice in _choices_above(margin, rounding):
            return choice
    for margin in margins:
        ties = list(itertools.islice(_choices_above(margin, -rounding), _MAX_TIES))
        if ties:
            correct = _are_correct(logits, np.stack(ties), positive, consensus)
            if correct.any():
                return ties[int(correct.argmax())]
    return None


def _are_correct(
    logits: NDArray[np.float32], choices: IntArray, positive: NDArray[np.bool_], consensus: Consensus
) -> NDArray[np.bool_]:
    """Return whether each choice (C, M) is correct as the metric counts it, (C,)."""
    kept = torch.from_numpy(logits[np.arange(len(logits)), choices])  # (C, M, J)
    probabilities = consensus_log_probabilities(kept, consensus=consensus).exp()
    targets = torch.from_numpy(positive).expand(len(choices), -1)
    return np.asarray(top_k_hits(probabilities, targets, 1).numpy())


def _choices_above(margins: Floats, threshold: float) -> Iterator[IntArray]:
    """Yield the choices (M,) whose margins, (M, K, C), summed over the sections, all exceed the threshold."""
    if (margins.max(1).sum(0) <= threshold).any():
        return
    margins = margins[..., margins.min(1).sum(0) <= threshold]  # the other classes exceed it whatever is chosen
    distinct = [np.sort(np.unique(section, axis=0, return_index=True)[1]) for section in margins]
    weights = _class_weights(margins, threshold)
    weighted = margins @ weights  # (M, K)
    options = [section[np.argsort(-weighted[m][section], kind="stable")] for m, section in enumerate(distinct)]
    rest = _sums_behind(margins.max(1))  # (M, C), the most that later sections can add
    weighted_rest = _sums_behind(weighted.max(1))  # (M,)

    def extend(chosen: Sequence[int], reached: Floats) -> Iterator[IntArray]:
        m = len(chosen)
        if m == len(margins):
            yield np.array(chosen, np.int64)
            return
        sums = reached + margins[m][options[m]]  # (K', C)
        is_open = (sums + rest[m] > threshold).all(1) & (sums @ weights + weighted_rest[m] > threshold)
        for option, sum_ in zip(options[m][is_open].tolist(), sums[is_open], strict=True):
            yield from extend((*chosen, option), sum_)

    yield from extend((), np.zeros(margins.shape[-1]))


def _sums_behind(values: Floats) -> Floats:
    """Return, for each section, the sum of ``values`` (M, ...) over the sections behind it."""
    return np.asarray(values[::-1].cumsum(0)[::-1] - values)


def _class_weights(margins: Floats, threshold: float) -> Floats:
    """Return weights of the classes, (C,), for which the best choice has a small weighted margin.

    If every choice leaves some class above the label, weights exist for which no choice exceeds the threshold, or few
    do. They are approached by multiplicative weights: classes that the best choice leaves behind gain weight.
    """
    sections, num_classes = np.arange(len(margins)), margins.shape[-1]
    weights = best = np.full(num_classes, 1 / max(num_classes, 1))
    lowest = np.inf
    scale = max(float(np.abs(margins).sum(0).max(initial=0)), 1e-12)
    for step in range(_WEIGHT_STEPS if num_classes > 1 else 0):
        weighted = margins @ weights
        bound = float(weighted.max(1).sum())
        if bound < lowest:
            lowest, best = bound, weights
        if bound <= threshold:
            break
        reached = margins[sections, weighted.argmax(1)].sum(0)
        weights = weights * np.exp(-8 / np.sqrt(step + 1) * reached / scale)
        weights = weights / weights.sum()
    return best
