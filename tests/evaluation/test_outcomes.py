"""Evaluations of the same videos brought together: seeds, and other trainings."""

import dataclasses

import numpy as np
import pytest

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.outcomes import Method, add_training, align
from dsn_lightning.evaluation.statistics_file import summary
from dsn_lightning.evaluation.study import RATES, Study
from helpers.evaluations import (
    DSN,
    DSN_WITH_OWN_CLASSIFIER,
    UNIFORM,
    correct_on,
    evaluation,
    favouring,
    one_hot,
    outcome,
    predicting,
)


def test_evaluations_are_aligned_by_video():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=30)
    targets, scores = one_hot(labels, 3), favouring(labels, 3, 1.0, rng)
    counts = {
        "hits": rng.integers(2, size=30),
        "possible_hits": np.ones(30, int),
        "kept_seconds": rng.random((30, 1, 6)),
    }
    first = evaluation({UNIFORM: outcome(scores, **counts)}, targets, name="first")
    order = rng.permutation(30)
    reordered = {name: values[order] for name, values in counts.items()}
    second = evaluation(
        {UNIFORM: outcome(scores[order], **reordered)}, targets[order], name="second", video_id=first.video_id[order]
    )
    one, other = align([first, second])
    for name in ("probabilities", *counts):
        assert np.array_equal(getattr(one.outcomes[UNIFORM], name), getattr(other.outcomes[UNIFORM], name))
    both = Study([first, second], number=100)
    for figure in RATES:
        assert len(set(both.figure(UNIFORM, figure).seeds)) == 1


def test_methods_that_not_all_have_are_named():
    targets = one_hot([0, 1], 2)
    first = evaluation({UNIFORM: EQUAL, DSN: EQUAL}, targets, name="a")
    study = Study([first, evaluation({UNIFORM: EQUAL}, targets, name="b")], number=100)
    assert study.methods == [UNIFORM]
    assert summary(study)["about"]["left_out"] == [f"{DSN}: not in every evaluation"]


TWO = one_hot([0, 1], 2)
EQUAL = outcome(predicting([0, 1]))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (evaluation({UNIFORM: EQUAL}, TWO, name="b", classes=("x", "y")), "b and a have different classes"),
        (evaluation({UNIFORM: EQUAL}, TWO, name="b", video_id=np.array(["v0", "w"])), "as a: v1 is missing"),
        (evaluation({UNIFORM: EQUAL}, one_hot([0, 0], 2), name="b"), "different labels for video v1"),
        (
            evaluation({UNIFORM: EQUAL}, TWO, name="b", test={"crops": 3}),
            "b was tested with crops=3, a with crops=1",
        ),
        (evaluation({DSN: EQUAL}, TWO, name="b"), "a and b have no method"),
        (evaluation({UNIFORM: EQUAL}, TWO, name="b", networks={"baseline": "a"}), "evaluate the same networks"),
        (
            evaluation({UNIFORM: dataclasses.replace(EQUAL, row={**EQUAL.row, "gamma": 1})}, TWO, name="b"),
            "differ in more than the seed: uniform (baseline's classifier), 6:3 has gamma=1 and gamma=None",
        ),
    ],
)
def test_evaluations_that_cannot_be_compared_are_refused(other, message):
    with pytest.raises(UsageError) as error:
        Study([evaluation({UNIFORM: EQUAL}, TWO, name="a"), other])
    assert message in str(error.value)


def test_another_training_adds_what_its_own_networks_predict():
    """Methods of a control's classifier are added; those of the baseline that both share count once."""
    uniform = Method("uniform", "dsn", 6, 3)
    outcomes = {UNIFORM: correct_on(4), uniform: correct_on(5), DSN_WITH_OWN_CLASSIFIER: correct_on(8, sampler="dsn")}
    targets = one_hot(np.zeros(10, int), 2)
    networks = {"baseline": "b", "dsn": "1", "dsn sampler": "s"}
    first = evaluation(outcomes, targets, name="a", networks=networks)
    control = {UNIFORM: correct_on(4), uniform: correct_on(7)}
    joined = add_training(first, "control", evaluation(control, targets, name="c", networks={**networks, "dsn": "2"}))
    added = Method("uniform", "control:dsn", 6, 3)
    assert added.training == "control"
    assert set(joined.outcomes) == {*outcomes, added}
    study = Study([joined], number=100)
    assert study.difference(DSN_WITH_OWN_CLASSIFIER, added, "top1").value == pytest.approx(0.1)
    assert study.difference(uniform, added, "top1").value == pytest.approx(-0.2)
    with pytest.raises(UsageError, match="has the same networks"):
        add_training(first, "control", first)
