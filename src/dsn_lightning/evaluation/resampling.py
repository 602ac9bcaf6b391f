"""Bootstrap over videos: the figures of many resamples at once.

A resample is a column of counts: how often each video occurs in it. Every figure is computed exactly as `metrics`
computes it on the resampled videos; nothing is approximated. Mean average precision takes one matrix product per class,
because the rank of a positive is the number of videos with an equal or higher score.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_POSITIVES_AT_ONCE = 512  # in a matrix product: (512, V) @ (V, R)

Floats = NDArray[np.floating]
Numbers = NDArray[np.number | np.bool_]


@dataclass(frozen=True)
class Counts:
    """How often each of V videos occurs in each of R resamples."""

    counts: Floats  #: (V, R), whole numbers; float32 sums them without error below 2**24

    def sums(self, values: Numbers) -> Floats:
        """Return the sums (K, R) of ``values`` (K, V) over the resampled videos."""
        return values.astype(self.counts.dtype) @ self.counts


def resamples(num_videos: int, *, number: int, seed: int) -> Counts:
    """Draw ``number`` resamples of V videos with replacement.

    >>> resamples(5, number=2, seed=0).counts.sum(0)
    array([5., 5.], dtype=float32)
    """
    rng = np.random.default_rng(seed)
    counts = np.empty((num_videos, number), np.float32)
    for r in range(number):
        counts[:, r] = np.bincount(rng.integers(num_videos, size=num_videos), minlength=num_videos)
    return Counts(counts)


def original_sample(num_videos: int) -> Counts:
    """Return the single sample that contains each video once."""
    return Counts(np.ones((num_videos, 1)))


def ratio(numerator: Numbers, denominator: Numbers, counts: Counts) -> Floats:
    """Return the sum of ``numerator`` over the sum of ``denominator``, each (V,), in each resample, (R,).

    Accuracies and hit rates are such ratios. NaN in a resample whose denominator is 0.
    """
    sums = counts.sums(np.stack([numerator, denominator])).astype(np.float64)
    return _divide(sums[0], sums[1])


def class_means(correct: Floats, targets: Floats, counts: Counts) -> Floats:
    """Return the mean (J, R) of ``correct`` (V,) over each class's videos; NaN for a class without videos."""
    positive = (targets > 0).T  # (J, V)
    hits = counts.sums(positive * correct).astype(np.float64)
    return _divide(hits, counts.sums(positive).astype(np.float64))


def average_precisions(scores: Floats, targets: Floats, counts: Counts) -> Floats:
    """Return each class's average precision (J, R) from scores and targets (V, J); NaN without a positive video.

    Equal to that of scikit-learn and torchmetrics on the repeated videos, ties included: the mean over the positives of
    the precision among all videos with an equal or higher score.
    """
    by_class, positive = np.ascontiguousarray(scores.T), (targets > 0).T  # (J, V)
    return np.concatenate([_precisions(by_class[b], positive[b], counts) for b in _blocks(positive)])


def _blocks(positive: NDArray[np.bool_]) -> Iterator[slice]:
    """Divide the classes into blocks of about `_POSITIVES_AT_ONCE` positives, which bounds the memory."""
    sizes = positive.sum(1)
    first = total = 0
    for j, size in enumerate(sizes):
        if total and total + size > _POSITIVES_AT_ONCE:
            yield slice(first, j)
            first, total = j, 0
        total += int(size)
    yield slice(first, len(sizes))


def _precisions(scores: Floats, positive: NDArray[np.bool_], counts: Counts) -> Floats:
    label, video = np.nonzero(positive)  # (P,) each: class and video of each positive
    column = scores[label]  # (P, V)
    no_lower = (column >= column[np.arange(len(video)), video][:, None]).astype(counts.counts.dtype)
    same_class = label[:, None] == label  # (P, P)
    precision = (no_lower[:, video] * same_class) @ counts.counts[video]  # (P, R), positives down to each positive
    precision /= np.maximum(no_lower @ counts.counts, 1)  # among all videos down to it
    weight = counts.counts[video]  # (P, R)
    precision *= weight
    member = (np.arange(len(scores))[:, None] == label).astype(counts.counts.dtype)  # (J, P)
    return _divide((member @ precision).astype(np.float64), (member @ weight).astype(np.float64))


def mean_over_classes(values: Floats) -> Floats:
    """Return the mean (R,) of values (J, R) over the classes, ignoring NaN; NaN if all are NaN."""
    known = ~np.isnan(values)
    return _divide(np.where(known, values, 0).sum(0), known.sum(0).astype(np.float64))


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
