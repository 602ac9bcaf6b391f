"""Logistic regression on frozen features, against scikit-learn used directly, and beside a trained classifier."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from dsn_lightning.backbones.mobilenet import MobileNetV2
from dsn_lightning.evaluation.linear_probe import fit_linear_probe
from helpers.processes import call

rng = np.random.default_rng(0)


def test_top1_is_that_of_scikit_learn():
    labels, features = rng.integers(3, size=60), rng.normal(size=(60, 5)).astype(np.float32)
    features[:, 0] += labels
    train, test = slice(0, 40), slice(40, 60)
    scaler = StandardScaler().fit(features[train])
    model = LogisticRegression(C=0.1, max_iter=1000).fit(scaler.transform(features[train]), labels[train])
    expected = model.score(scaler.transform(features[test]), labels[test])
    targets = np.eye(3, dtype=np.float32)[labels]
    probe = fit_linear_probe(features[train], targets[train])
    found = probe.top1(features[test], targets[test])
    logits = torch.from_numpy(features[test] @ probe.weight.T + probe.bias)
    np.testing.assert_allclose(logits.softmax(1), model.predict_proba(scaler.transform(features[test])), atol=1e-5)
    assert found == pytest.approx(expected)
    assert 0.4 < found < 1


def test_several_labels_and_a_class_without_training_videos():
    features = np.array([[0.0], [0.1], [1.0], [1.1]], np.float32)
    targets = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 1, 0]], np.float32)
    test = np.array([[0.0], [1.2], [1.2]], np.float32), np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]], np.float32)
    probe = fit_linear_probe(np.tile(features, (20, 1)), np.tile(targets, (20, 1)))
    assert probe.top1(*test) == pytest.approx(2 / 3)  # no answer is the third class


def test_own_videos_are_trained_by_their_recipe_and_compared_with_frozen_features(class_folders, tmp_path):
    """The recipe on small frames, from a file of weights; the test ends with the comparison, which status.json has."""
    torch.manual_seed(0)
    torch.save(MobileNetV2(0).state_dict(), tmp_path / "w.pt")
    small = ["backbone.crop_size=32", "backbone.frame_size=[32,44]", "weights=w.pt", "observation.weights=same",
             "M=2", "schedule.max_epochs=3", "trainer.accelerator=cpu", "test.figures=false"]  # fmt: skip
    done = call("dsn-train", "dataset=folder", f"dataset.root={class_folders}", "dataset.group=^[a-z]+", *small,
                f"dataset.reading.prepared={tmp_path / 'prepared'}", "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    rows = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {row["observation"] for row in rows if row["selection"] == "dsn"} == {"mobilenet_v2_video"}
    uniform = next(row for row in rows if row["selection"] == "uniform")
    assert status["linear_probe"]["classifier_top1"] == uniform["top1"]
    assert 0 <= status["linear_probe"]["top1"] <= 1
    assert "ogistic regression on the features that the classifier started from: top-1 " in done.stdout
    below = status["linear_probe"]["top1"] > uniform["top1"]
    warned = [w for w in status["warnings"] if "does not beat its own frozen features" in w["text"]]
    assert len(warned) == below
    assert ("warning: the classifier does not beat its own frozen features" in done.stdout) == below
