"""What choosing clips can gain, and shares of it, by hand."""

import json

import numpy as np
import pytest

from dsn_lightning.evaluation.headroom import gap_share, gap_shares, headroom, paper_share
from dsn_lightning.evaluation.outcomes import Method
from dsn_lightning.evaluation.study import Study
from helpers.evaluations import (
    DSN_F,
    DSN_WITH_OWN_CLASSIFIER,
    MOST_CONFIDENT,
    ORACLE,
    UNIFORM,
    correct_on,
    evaluation,
    one_hot,
)


def gap_study(method: int, *, low: int = 40, high: int = 80) -> Study:
    """100 videos; uniform clips are correct on the first ``low``, the oracle's on ``high``, the method's on its own."""
    outcomes = {
        UNIFORM: correct_on(low, 100),
        ORACLE: correct_on(high, 100, kind="upper_bound"),
        MOST_CONFIDENT: correct_on(low, 100),
        DSN_F: correct_on(method, 100, sampler="dsn_fixed"),
    }
    return Study([evaluation(outcomes, one_hot(np.zeros(100, int), 2))], number=500)


def test_share_of_the_gap_by_hand():
    found = gap_share(gap_study(50), DSN_F, UNIFORM, ORACLE, "top1")
    assert found.share.value == pytest.approx(10 / 40)
    assert found.share.low < 0.25 < found.share.high
    assert found.share.low > 0
    assert found.share.high < 1
    assert (found.low.value, found.high.value) == pytest.approx((0.4, 0.8))
    assert gap_share(gap_study(30), DSN_F, UNIFORM, ORACLE, "top1").share.value == pytest.approx(-10 / 40)


@pytest.mark.parametrize("high", [40, 41])
def test_a_gap_near_zero_is_not_divided_by(high):
    found = gap_share(gap_study(50, high=high), DSN_F, UNIFORM, ORACLE, "top1")
    assert found.share is None
    assert "too small to divide by" in found.reason
    assert json.loads(json.dumps(found.as_json()))["share"] is None


def test_the_papers_shares():
    """Its Table I gives 16% and 95%."""
    figures = [paper_share(column) for column in ("activitynet/top1", "thumos14/map", "ucf101/top1", "hmdb51/top1")]
    assert figures == pytest.approx([4.1 / 26.0, 10.3 / 10.8, 1.9 / 5.5, 2.7 / 10.0])
    assert [round(100 * figure) for figure in figures[:2]] == [16, 95]
    assert paper_share("needle/top1") is None


def test_mixed_shares_take_the_baselines_gap():
    outcomes = {
        UNIFORM: correct_on(40, 100),
        ORACLE: correct_on(80, 100, kind="upper_bound"),
        DSN_F: correct_on(40, 100, sampler="dsn_fixed"),
        Method("uniform", "dsn", 6, 3): correct_on(20, 100),
        Method("oracle", "dsn", 6, 3): correct_on(60, 100, kind="upper_bound"),
        DSN_WITH_OWN_CLASSIFIER: correct_on(50, 100, sampler="dsn"),
    }
    study = Study([evaluation(outcomes, one_hot(np.zeros(100, int), 2))], number=200)
    shares = gap_shares(study, DSN_WITH_OWN_CLASSIFIER)
    found = {(entry["ends"], entry["figure"]): entry["share"] for entry in shares}
    assert found["same classifier", "top1"]["value"] == pytest.approx(30 / 40)
    assert found["mixed", "top1"]["value"] == pytest.approx(10 / 40)
    assert [entry["paper"] for entry in shares if entry["figure"] == "top1"] == pytest.approx([4.1 / 26.0] * 2)
    assert {entry["paper"] for entry in gap_shares(study, DSN_F)} == {None}


def test_headroom_says_what_a_baseline_can_gain():
    (entry,) = headroom(gap_study(50))
    assert entry["figures"]["top1"]["oracle"]["value"] == pytest.approx(0.4)
    assert "at 6:3 a perfect choice of clips would gain +40.0 [+3" in entry["verdict"]
    assert "may gain by chance" in entry["verdict"]  # the most confident clips are the uniform ones here
    (nothing,) = headroom(gap_study(50, high=40))
    assert "no sampler can help" in nothing["verdict"]
