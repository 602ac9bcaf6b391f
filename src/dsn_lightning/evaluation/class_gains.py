"""Which classes gain, and which are confused."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.evaluation.answers import confusion_matrix
from dsn_lightning.evaluation.outcomes import Method
from dsn_lightning.evaluation.resampling import average_precisions, class_means, original_sample
from dsn_lightning.evaluation.study import Study, correct_share


def class_gains(study: Study, method: Method, other: Method) -> list[dict[str, Any]]:
    """Return the gain of ``method`` over ``other`` in each class, ordered by the gain in top-1, then in precision.

    Each entry has ``class, videos`` (with that label), ``top1`` (share of them that is classified correctly),
    ``other_top1``, ``top1_gain``, ``ap``, ``other_ap``, ``ap_gain``, all averaged over the seeds. Classes without
    videos are left out.
    """
    (top1, precision), (other_top1, other_precision) = _by_class(study, method), _by_class(study, other)
    videos = (study.targets > 0).sum(0)
    figures = {"top1": top1, "other_top1": other_top1, "top1_gain": top1 - other_top1}
    figures |= {"ap": precision, "other_ap": other_precision, "ap_gain": precision - other_precision}
    gains = [
        {"class": study.classes[j], "videos": int(videos[j])} | {name: float(of[j]) for name, of in figures.items()}
        for j in np.flatnonzero(videos)
    ]
    return sorted(gains, key=lambda gain: (-gain["top1_gain"], -gain["ap_gain"]))


def _by_class(study: Study, method: Method) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return each class's top-1 and average precision, (J,), averaged over draws and seeds."""
    once = original_sample(study.num_videos)
    top1, precision = [], []
    for outcome in study.outcomes(method):
        top1.append(class_means(correct_share(outcome, study.targets), study.targets, once)[:, 0])
        draws = [average_precisions(draw, study.targets, once)[:, 0] for draw in outcome.probabilities]
        precision.append(np.mean(draws, 0))
    return np.mean(top1, 0), np.mean(precision, 0)


def confusion_counts(study: Study, method: Method) -> NDArray[np.int64] | None:
    """Count the videos of each class (row) by predicted class (column), (J, J), summed over the seeds.

    For a random method the first draw counts. None if some video has several labels or none.
    """
    predicted = [outcome.probabilities[0].argmax(-1) for outcome in study.outcomes(method)]
    counts = [confusion_matrix(study.targets, classes) for classes in predicted]
    return None if any(matrix is None for matrix in counts) else np.sum([m for m in counts if m is not None], 0)


def row_shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each row of a confusion matrix as shares of its sum; rows of absent classes are 0.

    >>> row_shares(np.array([[3, 1], [0, 0]]))
    array([[0.75, 0.25],
           [0.  , 0.  ]])
    """
    return np.asarray(counts / np.maximum(counts.sum(1, keepdims=True), 1), np.float64)
