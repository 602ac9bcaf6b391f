"""Warnings of a training that learns nothing: when they are printed, and that each is kept once."""

import math

import pytest

from dsn_lightning.training.callbacks import EpochLog
from dsn_lightning.training.learning_warnings import LearningWarnings
from helpers.training import fit, make_dsn, sure_of_clip_2


@pytest.fixture
def stored() -> list[list[dict]]:
    """What the callback has stored, each time."""
    return []


@pytest.fixture
def callbacks(stored):
    return [EpochLog(), LearningWarnings(num_classes=3, store=lambda warnings: stored.append(list(warnings)))]


def test_a_collapse_is_warned_about_once_with_the_remedy(callbacks, stored, capsys):
    fit(sure_of_clip_2(), epochs=2, callbacks=callbacks)
    (warning,) = [warning for warning in stored[-1] if "collapsed" in warning["text"]]
    assert warning["epoch"] == 1
    assert "in epoch 1 it keeps clip 2 in 100.0% of the sections" in warning["text"]
    assert "algorithm.exploration" in warning["text"]
    assert capsys.readouterr().err.count(f"warning: {warning['text']}\n") == 1


def test_a_policy_that_stays_uniform_is_named_after_the_last_epoch(callbacks, stored, capsys):
    fit(make_dsn(), epochs=2, callbacks=callbacks)  # which cannot learn in two steps
    (warning,) = [warning for warning in stored[-1] if "uniform" in warning["text"]]
    assert warning["epoch"] == 2
    assert "the policy is still uniform after the last epoch: its entropy is 1.38" in warning["text"]
    assert f"ln 4 = {math.log(4):.4f}" in warning["text"]
    assert capsys.readouterr().err.count(warning["text"]) == 1


def test_a_learning_policy_is_not_warned_about(callbacks, stored):
    model = make_dsn()
    model.observation.fc.bias.data[2] = 5.0
    fit(model, epochs=1, callbacks=callbacks)
    assert not any("policy" in warning["text"] for warning in stored[-1])


@pytest.mark.parametrize(("num_classes", "epochs"), [(2, [3, 4]), (1, []), (10**9, [])])
def test_a_classifier_at_chance_is_named_after_three_epochs_and_the_last(num_classes, epochs, stored):
    """The loss of this one stays near ln 3, which two classes would have by guessing."""
    model = make_dsn(warmup_epochs=4)
    callback = LearningWarnings(num_classes=num_classes, store=lambda warnings: stored.append(list(warnings)))
    fit(model, epochs=4, callbacks=[EpochLog(), callback])
    assert [warning["epoch"] for warning in stored[-1]] == epochs
    assert all("the classifier has not learned: its loss in epoch" in warning["text"] for warning in stored[-1])


def test_a_resumed_training_keeps_the_warnings_of_its_checkpoint(callbacks, stored):
    fit(sure_of_clip_2(), epochs=1, callbacks=callbacks)
    (warning,) = (warning for warning in stored[-1] if "collapsed" in warning["text"])
    resumed = LearningWarnings(num_classes=3, store=lambda warnings: stored.append(list(warnings)))
    resumed.load_state_dict(callbacks[1].state_dict())
    stored.clear()
    fit(sure_of_clip_2(), epochs=1, callbacks=[EpochLog(), resumed])
    assert warning in stored[0]  # before the first epoch
    assert sum("collapsed" in kept["text"] for kept in stored[-1]) == 1
