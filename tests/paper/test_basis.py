"""What a result stands on, in words, and when it can be compared with the paper's."""

import pytest

from dsn_lightning.paper.basis import counts_text, start_text, why_not_comparable

ROW = {"dataset": "hmdb51", "selection": "dsn_fixed", "classifier": "baseline"}


def environment(*, trained: int, tested: int) -> dict:
    facts = {"videos": 7, "videos_of": 9, "classes_of": 51}
    network = {**facts, "classes": trained, "classifier_from": "kinetics400", "observation_from": None}
    sampler = {**network, "classifier_from": "kinetics400, then hmdb51", "observation_from": "imagenet"}
    return {"networks": {"baseline": network, "dsn_fixed": sampler}, "tested_on": {**facts, "classes": tested}}


@pytest.mark.parametrize(
    ("trained", "tested", "reason"),
    [
        (51, 51, ""),
        (12, 51, "trained on 12 classes, the paper on 51"),
        (51, 12, "tested on 12 classes, the paper on 51"),
    ],
)
def test_only_the_same_classes_are_comparable(trained, tested, reason):
    assert why_not_comparable(ROW, environment(trained=trained, tested=tested)) == reason


def test_a_classifier_and_the_sampler_of_another_run_are_both_named():
    facts = environment(trained=51, tested=51)
    assert start_text(ROW, facts) == "kinetics400; sampler: imagenet"
    assert start_text({**ROW, "selection": "uniform"}, facts) == "kinetics400"


@pytest.mark.parametrize("facts", [{}, {"networks": {"baseline": None}, "tested_on": {}}, {"networks": None}])
def test_what_is_not_recorded_is_not_compared(facts):
    assert counts_text(ROW, facts) == "not recorded"
    assert start_text(ROW, facts) == ""
    assert why_not_comparable(ROW, facts) == "what it was trained on is not recorded"
