"""What choosing clips can gain, and shares of it, by hand."""

import json

import numpy as np
import pytest

from dsn_lightning.evaluation.comparison_table import gap_lines
from dsn_lightning.evaluation.headroom import gap_share, gap_shares, headroom, paper_share
from dsn_lightning.evaluation.outcomes import Method
from dsn_lightning.evaluation.statistics_file import summary
from dsn_lightning.evaluation.study import Study
from helpers.evaluations import (
    DSN_F,
    DSN_WITH_OWN_CLASSIFIER,
    EXACT,
    MOST_CONFIDENT,
    ORACLE,
    UNIFORM,
    correct_on,
    evaluation,
    one_hot,
)


def gap_study(method: int, *, low: int = 40, high: int = 80, greedy: int | None = None, num_videos: int = 100) -> Study:
    """Uniform clips are correct on the first ``low`` videos, the best choice on ``high``, the method's on its own."""
    outcomes = {
        UNIFORM: correct_on(low, num_videos),
        ORACLE: correct_on(high if greedy is None else greedy, num_videos, kind="upper_bound"),
        EXACT: correct_on(high, num_videos, kind="upper_bound"),
        MOST_CONFIDENT: correct_on(low, num_videos),
        DSN_F: correct_on(method, num_videos, sampler="dsn_fixed"),
    }
    return Study([evaluation(outcomes, one_hot(np.zeros(num_videos, int), 2))], number=500)


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
        Method("oracle", "dsn", 6, 3): correct_on(50, 100, kind="upper_bound"),
        Method("oracle_exact", "dsn", 6, 3): correct_on(60, 100, kind="upper_bound"),
        EXACT: correct_on(90, 100, kind="upper_bound"),
        DSN_WITH_OWN_CLASSIFIER: correct_on(50, 100, sampler="dsn"),
    }
    study = Study([evaluation(outcomes, one_hot(np.zeros(100, int), 2))], number=200)
    shares = gap_shares(study, DSN_WITH_OWN_CLASSIFIER)
    found = {(entry["ends"], entry["figure"]): entry["share"] for entry in shares}
    assert found["same classifier", "top1"]["value"] == pytest.approx(30 / 40)  # of the exact bound
    assert found["mixed", "top1"]["value"] == pytest.approx(10 / 40)  # of the greedy oracle's, as in Table I
    assert {(entry["ends"], entry["figure"]): entry["bound"] for entry in shares} == {
        ("same classifier", "top1"): "oracle_exact",
        ("same classifier", "map"): "oracle",
        ("mixed", "top1"): "oracle",
        ("mixed", "map"): "oracle",
    }
    assert [entry["paper"] for entry in shares if entry["figure"] == "top1"] == pytest.approx([4.1 / 26.0] * 2)
    assert {entry["paper"] for entry in gap_shares(study, DSN_F)} == {None}


def test_headroom_says_what_a_baseline_can_gain():
    (entry,) = headroom(gap_study(50, greedy=70))
    assert entry["bounds"] == {"top1": "oracle_exact", "map": "oracle"}
    gains = entry["figures"]["top1"]
    assert (gains["oracle_exact"]["value"], gains["oracle"]["value"]) == pytest.approx((0.4, 0.3))
    assert "oracle_exact" not in entry["figures"]["map"]  # which it does not maximise
    assert entry["verdict"].startswith("better clips exist at 6:3, but nothing shows that a sampler can find them: ")
    assert "the best choice of clips gains +40.0 [+3" in entry["verdict"]
    assert "correct by chance" in entry["verdict"]  # the most confident clips are the uniform ones here


def test_few_videos_do_not_tell_that_no_sampler_can_help():
    """DSN has 55.0, uniform and greedy oracle clips have 50.0; the best of all choices has 60.0."""
    study = gap_study(22, low=20, high=24, greedy=20, num_videos=40)
    (entry,) = headroom(study)
    assert entry["figures"]["top1"]["oracle_exact"]["value"] == pytest.approx(0.1)
    assert entry["verdict"].startswith(
        "too few videos to tell what choosing clips can gain at 6:3: the best choice of "
    )
    assert "gains +10.0 [+" in entry["verdict"]
    assert "no sampler" not in entry["verdict"]
    share = gap_shares(study, DSN_F)[0]["share"]
    assert share["value"] == pytest.approx(0.5)


@pytest.mark.parametrize(("num_videos", "excluded"), [(40, False), (299, False), (300, True), (1000, True)])
def test_a_gain_is_excluded_by_many_videos_without_one(num_videos, excluded):
    """Of 300 videos without a single gain, the 95% limit of the rate is 1 - 0.05^(1/300) = 1%."""
    (entry,) = headroom(gap_study(20, low=20, high=20, num_videos=num_videos))
    assert entry["verdict"].startswith("no sampler can raise the top-1 of this classifier at 6:3") == excluded
    assert entry["verdict"].startswith("too few videos to tell") != excluded


def test_shares_that_are_not_known_are_one_line():
    statistics = summary(gap_study(50, greedy=70))
    for entry in statistics["gap_share"]:
        entry["share"] = {"value": 0.25, "low": -1.67, "high": 0.67}
    assert gap_lines(statistics) == ["too few videos to tell what share of the gap is closed"]
    (line, *_) = gap_lines(summary(gap_study(50, greedy=70)))
    assert line.startswith("top-1 of dsn_fixed (baseline's classifier) at 6:3: 25% [")
    assert line.endswith(
        "of the gap from uniform clips to the best choice of clips with the same classifier, 40.0 to 80.0"
    )
