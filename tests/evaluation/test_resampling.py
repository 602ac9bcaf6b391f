"""Figures of many resamples at once, against scikit-learn and by hand."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from dsn_lightning.evaluation.resampling import average_precisions, class_means, original_sample, ratio
from helpers.evaluations import favouring, one_hot


def test_many_classes_in_several_blocks_equal_scikit_learns():
    rng = np.random.default_rng(0)
    labels = rng.integers(30, size=1500)  # three blocks
    scores, targets = favouring(labels, 30, 1.0, rng), one_hot(labels, 30)
    precisions = average_precisions(scores, targets, original_sample(1500))[:, 0]
    assert precisions == pytest.approx(average_precision_score(targets, scores, average=None), abs=1e-6)


def test_a_resample_by_hand():
    scores = np.array([[0.9], [0.8], [0.7]], np.float32)
    targets = np.array([[1.0], [0.0], [1.0]], np.float32)
    negative_twice = dataclasses.replace(original_sample(3), counts=np.array([[1.0], [2.0], [1.0]]))
    assert average_precisions(scores, targets, negative_twice) == pytest.approx(np.array([[(1 + 2 / 4) / 2]]))
    assert ratio(np.array([1, 0, 1]), np.ones(3), negative_twice) == pytest.approx([0.5])
    assert class_means(np.array([1.0, 1, 0]), targets, negative_twice) == pytest.approx(np.array([[0.5]]))


def test_a_resample_without_anything_to_count_gives_no_figure():
    only_the_second = dataclasses.replace(original_sample(2), counts=np.array([[0.0], [2.0]]))
    assert np.isnan(ratio(np.array([1, 0]), np.array([1, 0]), only_the_second)).all()
