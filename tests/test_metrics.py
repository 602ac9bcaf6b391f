"""Video-level metrics against scikit-learn and by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, balanced_accuracy_score, top_k_accuracy_score

from dsn_lightning.metrics import (
    VideoMetrics,
    mean_average_precision,
    mean_class_accuracy,
    top_k_accuracy,
    video_metrics,
)


def drawn(num_videos: int = 60, num_classes: int = 7) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(num_classes, size=num_videos)
    scores = torch.from_numpy(rng.dirichlet(np.ones(num_classes), num_videos)).float()
    targets = torch.nn.functional.one_hot(torch.from_numpy(labels), num_classes).float()
    return scores, targets, labels


def test_metrics_equal_scikit_learns():
    scores, targets, labels = drawn()
    figures = video_metrics(scores, targets)
    classes = np.arange(7)
    assert figures["top1"] == pytest.approx(top_k_accuracy_score(labels, scores.numpy(), k=1, labels=classes))
    assert figures["top5"] == pytest.approx(top_k_accuracy_score(labels, scores.numpy(), k=5, labels=classes))
    assert figures["mean_class"] == pytest.approx(balanced_accuracy_score(labels, scores.numpy().argmax(1)))
    theirs = average_precision_score(targets.numpy(), scores.numpy(), average="macro")
    assert figures["map"] == pytest.approx(theirs, abs=1e-5)


def test_any_of_several_labels_is_correct_and_absent_classes_are_ignored():
    scores = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1]])
    targets = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 1.0, 0]])
    assert top_k_accuracy(scores, targets, k=1) == 0.5
    assert top_k_accuracy(scores, targets, k=4) is None
    assert mean_class_accuracy(scores, targets) == pytest.approx((1 + 1 + 0) / 3)
    theirs = np.mean([average_precision_score(targets[:, j] > 0, scores[:, j]) for j in range(3)])
    assert mean_average_precision(scores, targets) == pytest.approx(theirs)


def test_a_probability_above_one_by_rounding_is_no_logit():
    scores, targets, _ = drawn()
    scores[0] = torch.tensor([1.0 + 2**-23] + [1e-9] * 6)
    expected = np.mean([average_precision_score(targets[:, j], scores[:, j]) for j in range(7)])
    assert mean_average_precision(scores, targets) == pytest.approx(expected, abs=1e-6)


def test_metric_object_equals_the_function():
    scores, targets, _ = drawn()
    metric = VideoMetrics()
    for part in range(0, 60, 25):
        metric.update(scores[part : part + 25], targets[part : part + 25])
    assert metric.compute() == video_metrics(scores, targets)
