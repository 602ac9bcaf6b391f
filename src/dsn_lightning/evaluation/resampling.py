"""Bootstrap over videos: the figures of many resamples at once.

A resample is how often each video is in it, a row of counts. Every figure is computed anew, exactly as `metrics` does
it on the resampled videos; nothing is approximated. For mean average precision that is one matrix product a class,
since the rank of a positive is the count of videos that score no lower.
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
    """How often each of V videos is in each of R resamples.

    Attributes:
        counts: (V, R), whole numbers; float32 adds them up without error below 2**24.
    """

    counts: Floats

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


def as_they_are(num_videos: int) -> Counts:
    """Return the one set that holds each video once."""
    return Counts(np.ones((num_videos, 1)))


def ratio(right: Numbers, counted: Numbers, counts: Counts) -> Floats:
    """Return the mean (R,) of ``right`` / ``counted``, each (V,): accuracies and hit rates.

    NaN in a resample in which nothing counts.
    """
    upper, lower = counts.sums(np.stack([right, counted])).astype(np.float64)
    return _divide(upper, lower)


def class_means(right: Floats, targets: Floats, counts: Counts) -> Floats:
    """Return the share (J, R) of each class's videos that are ``right`` (V,); NaN where a class is absent."""
    positive = (targets > 0).T  # (J, V)
    hits = counts.sums(positive * right).astype(np.float64)
    return _divide(hits, counts.sums(positive).astype(np.float64))


def average_precisions(scores: Floats, targets: Floats, counts: Counts) -> Floats:
    """Return the average precision (J, R) of each class; NaN where a class has no positive video.

    Equal to scikit-learn's and torchmetrics' on the repeated videos, ties included: the sum over positives of the
    precision among all videos that score no lower, by the number of positives.

    Args:
        scores: (V, J).
        targets: (V, J), positive at the labels.
        counts: of the videos.
    """
    by_class, positive = np.ascontiguousarray(scores.T), (targets > 0).T  # (J, V)
    return np.concatenate([_precisions(by_class[b], positive[b], counts) for b in _blocks(positive)])


def _blocks(positive: NDArray[np.bool_]) -> Iterator[slice]:
    """Cut the classes into runs of about `_POSITIVES_AT_ONCE` positives, to bound memory and feed the processor."""
    size = positive.sum(1)
    first = total = 0
    for j, own in enumerate(size):
        if total and total + own > _POSITIVES_AT_ONCE:
            yield slice(first, j)
            first, total = j, 0
        total += int(own)
    yield slice(first, len(size))


def _precisions(scores: Floats, positive: NDArray[np.bool_], counts: Counts) -> Floats:
    kind, video = np.nonzero(positive)  # (P,) each: class of each positive, and which video it is
    column = scores[kind]  # (P, V)
    no_lower = (column >= column[np.arange(len(video)), video][:, None]).astype(counts.counts.dtype)
    alike = kind[:, None] == kind  # (P, P), of the same class
    found = (no_lower[:, video] * alike) @ counts.counts[video]  # (P, R), positives down to each positive
    found /= np.maximum(no_lower @ counts.counts, 1)  # the precision there
    own = counts.counts[video]  # (P, R)
    found *= own
    member = (np.arange(len(scores))[:, None] == kind).astype(counts.counts.dtype)  # (J, P)
    return _divide((member @ found).astype(np.float64), (member @ own).astype(np.float64))


def mean_over_classes(values: Floats) -> Floats:
    """Return the mean (R,) over the classes of values (J, R) that are there; NaN where none is."""
    known = ~np.isnan(values)
    return _divide(np.where(known, values, 0).sum(0), known.sum(0).astype(np.float64))


def _divide(upper: Floats, lower: Floats) -> Floats:
    return np.divide(upper, lower, out=np.full_like(upper, np.nan), where=lower > 0)
