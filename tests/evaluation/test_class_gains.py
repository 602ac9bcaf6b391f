"""Gains and confusions by class, against scikit-learn."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, recall_score

from dsn_lightning.evaluation.class_gains import class_gains, confusion_counts
from dsn_lightning.evaluation.study import Study
from helpers.evaluations import DSN, UNIFORM, evaluation, favouring, one_hot, outcome


def test_gains_by_class_and_confusion_equal_scikit_learns():
    rng = np.random.default_rng(0)
    labels = np.append(rng.integers(3, size=59), 4)  # no video is of class 3
    targets = one_hot(labels, 5)
    first, second = (favouring(labels, 5, strength, rng) for strength in (2.0, 0.5))
    study = Study([evaluation({DSN: outcome(first), UNIFORM: outcome(second)}, targets)], number=100)
    gains = {gain["class"]: gain for gain in class_gains(study, DSN, UNIFORM)}
    assert set(gains) == {"class 0", "class 1", "class 2", "class 4"}
    recall = [recall_score(labels, s.argmax(1), labels=[0, 1, 2, 4], average=None) for s in (first, second)]
    for i, j in enumerate((0, 1, 2, 4)):
        gain = gains[f"class {j}"]
        assert (gain["top1"], gain["other_top1"]) == pytest.approx((recall[0][i], recall[1][i]))
        assert gain["ap"] == pytest.approx(average_precision_score(targets[:, j], first[:, j]), abs=1e-6)
        assert gain["videos"] == (labels == j).sum()
    order = [gain["top1_gain"] for gain in class_gains(study, DSN, UNIFORM)]
    assert all(before >= after for before, after in pairwise(order))
    assert np.array_equal(confusion_counts(study, DSN), confusion_matrix(labels, first.argmax(1), labels=range(5)))
