"""The contract of a selection method."""

import pytest

from dsn_lightning.errors import UsageError
from dsn_lightning.selections import (
    Dense,
    MaxResponse,
    MostConfident,
    Oracle,
    OracleVideo,
    Policy,
    Random,
    Uniform,
    check_selection,
)


@pytest.mark.parametrize("kind", [Random, Uniform, Dense, MaxResponse, MostConfident, Oracle, OracleVideo])
def test_our_methods_fulfil_the_contract(kind):
    selection = kind()
    assert check_selection(selection) is selection


def test_a_policy_fulfils_the_contract():
    check_selection(Policy("mine", ["dsn"]))


class Broken:
    name = ""
    kind = "best"
    classifiers = "baseline"

    def select(self, scores):
        """With too few parameters."""


def test_everything_that_is_wrong_is_listed_at_once():
    with pytest.raises(UsageError) as error:
        check_selection(Broken())
    assert str(error.value) == (
        "Broken is not a selection method: name: expected a non-empty string, got ''; "
        "kind: expected one of reference, learned, upper_bound, got 'best'; "
        "sampler: expected the name of a network or None, missing; "
        "classifiers: expected a non-empty tuple of names, got 'baseline'; "
        "candidates(video_id, num_frames, scheme): missing; "
        "select: expected parameters (scores, scheme, classifier), got (scores)"
    )


@pytest.mark.parametrize("classifiers", [(), ("dsn", 1), ["dsn"]])
def test_classifiers_must_be_a_tuple_of_names(classifiers):
    selection = Uniform()
    selection.classifiers = classifiers
    with pytest.raises(UsageError, match="classifiers: expected a non-empty tuple of names, got"):
        check_selection(selection)
