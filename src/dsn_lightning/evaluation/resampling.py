"""Bootstrap over videos: the figures of many resamples at once.

A resample is how often each video is in it, a row of counts. Every figure is computed anew, exactly as `metrics` does
it on the resampled videos; nothing is approximated. For mean average precision that is one matrix product a class,
since the rank of a positive is the count of videos that score no lower.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_COLUMNS_AT_ONCE = 512  # positives in a matrix product: (R, V) @ (V, 512)

Floats = NDArray[np.floating]
Numbers = NDArray[np.number | np.bool_]


@dataclass(frozen=True)
class Counts:
    """How often each of V videos is in each of R resamples.

    Attributes:
        counts: (R, V), whole numbers; float32 adds them up without error below 2**24.
    """

    counts: Floats

    def sums(self, values: Floats) -> Floats:
        """Return the sums (R, K) of ``values`` (V, K) over the resampled videos."""
        return self.counts @ values.astype(self.counts.dtype)


def resamples(num_videos: int, *, number: int, seed: int) -> Counts:
    """Draw ``number`` resamples of V videos with replacement.

    >>> resamples(5, number=2, seed=0).counts.sum(1)
    array([5., 5.], dtype=float32)
    """
    rng = np.random.default_rng(seed)
    counts = np.empty((number, num_videos), np.float32)
    for row in counts:
        row[:] = np.bincount(rng.integers(num_videos, size=num_videos), minlength=num_videos)
    return Counts(counts)


def as_they_are(num_videos: int) -> Counts:
    """Return the one set that holds each video once."""
    return Counts(np.ones((1, num_videos)))


def ratio(right: Numbers, counted: Numbers, counts: Counts) -> Floats:
    """Return the mean (R,) of ``right`` / ``counted``, each (V,): accuracies and hit rates.

    NaN in a resample in which nothing counts.
    """
    sums = counts.sums(np.stack([right, counted], 1)).astype(np.float64)  # (R, 2)
    return _divide(sums[:, 0], sums[:, 1])


def class_means(right: Floats, targets: Floats, counts: Counts) -> Floats:
    """Return the share (R, J) of each class's videos that are ``right`` (V,); NaN where a class is absent."""
    positive = (targets > 0).astype(np.float32)  # (V, J)
    hits = counts.sums(right[:, None] * positive).astype(np.float64)
    return _divide(hits, counts.sums(positive).astype(np.float64))


def average_precisions(scores: Floats, targets: Floats, counts: Counts) -> Floats:
    """Return the average precision (R, J) of each class; NaN where a class has no positive video.

    Equal to scikit-learn's and torchmetrics' on the repeated videos, ties included: the sum over positives of the
    precision among all videos that score no lower, by the number of positives.

    Args:
        scores: (V, J).
        targets: (V, J), positive at the labels.
        counts: of the videos.
    """
    parts = [_class_block(scores, targets, counts, block) for block in _blocks(targets)]
    return np.concatenate(parts, 1)


def _blocks(targets: Floats) -> Iterator[slice]:
    """Cut the classes into runs of about `_COLUMNS_AT_ONCE` positives, to bound memory and feed the processor."""
    size = (targets > 0).sum(0)
    first = total = 0
    for j, own in enumerate(size):
        if total and total + own > _COLUMNS_AT_ONCE:
            yield slice(first, j)
            first, total = j, 0
        total += int(own)
    yield slice(first, len(size))


def _class_block(scores: Floats, targets: Floats, counts: Counts, block: slice) -> Floats:
    kind, video = np.nonzero(targets[:, block].T > 0)  # (P,) each: classes of the block, in order, and their positives
    column = scores[:, block][:, kind]  # (V, P)
    no_lower = (column >= column[video, np.arange(len(video))]).astype(np.float32)  # (V, P)
    ranked = counts.sums(no_lower)  # (R, P), videos up to each positive
    own = counts.counts[:, video]  # (R, P)
    number = block.stop - block.start
    result = np.full((len(own), number), np.nan)
    for j in range(number):
        at = np.flatnonzero(kind == j)
        if len(at):
            at_j = slice(at[0], at[-1] + 1)
            true = own[:, at_j] @ no_lower[video[at_j], at_j]  # (R, P_j), positives up to each positive
            precision = np.divide(true, ranked[:, at_j], out=np.zeros_like(true), where=ranked[:, at_j] > 0)
            total = (own[:, at_j] * precision).sum(1, dtype=np.float64)
            result[:, j] = _divide(total, own[:, at_j].sum(1, dtype=np.float64))
    return result


def mean_over_classes(values: Floats) -> Floats:
    """Return the mean (R,) over the classes of values (R, J) that are there; NaN where none is."""
    known = ~np.isnan(values)
    return _divide(np.where(known, values, 0).sum(1), known.sum(1).astype(np.float64))


def _divide(upper: Floats, lower: Floats) -> Floats:
    return np.divide(upper, lower, out=np.full_like(upper, np.nan), where=lower > 0)
