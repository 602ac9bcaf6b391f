"""Which differences are shown, and how."""

import numpy as np

from dsn_lightning.evaluation import comparison_table
from dsn_lightning.evaluation.outcomes import Method, StoredEvaluation, add_training
from dsn_lightning.evaluation.statistics_file import summary
from dsn_lightning.evaluation.study import Study
from dsn_lightning.selections import MostConfident
from helpers.evaluations import correct_on, evaluation, one_hot

TARGETS = one_hot(np.zeros(10, int), 2)


def shown(statistics: dict) -> set[tuple[str, str, str, str]]:
    return {
        tuple(difference[which][name] for which in ("method", "other") for name in ("selection", "classifier"))
        for difference in comparison_table.main_differences(statistics)
    }


def test_learned_methods_are_compared_with_references_of_both_classifiers():
    outcomes = {
        Method("random", "baseline", 3, 3): correct_on(3),
        Method("uniform", "baseline", 3, 3): correct_on(4),
        Method("uniform", "dsn", 3, 3): correct_on(5),
        Method("ours", "baseline", 3, 3): correct_on(5),
        Method("max_response", "baseline", 3, 3): correct_on(6, sampler="max_response"),
        Method("dsn", "dsn", 3, 3): correct_on(8, sampler="dsn"),
        Method("oracle", "baseline", 3, 3): correct_on(10, kind="upper_bound"),
        Method(MostConfident.name, "baseline", 3, 3): correct_on(5),
    }
    statistics = summary(Study([evaluation(outcomes, TARGETS)], number=100))
    assert shown(statistics) == {
        ("dsn", "dsn", "uniform", "baseline"),
        ("dsn", "dsn", "uniform", "dsn"),
        ("dsn", "dsn", "ours", "baseline"),
        ("dsn", "dsn", "max_response", "baseline"),
        ("max_response", "baseline", "uniform", "baseline"),
        ("max_response", "baseline", "ours", "baseline"),
    }
    references = comparison_table.against_references(statistics)
    assert [(d["method"]["selection"], d["other"]["selection"]) for d in references] == [
        ("dsn", "uniform"),
        ("max_response", "ours"),
        ("max_response", "uniform"),
    ]


def test_a_control_is_compared_by_the_same_selection():
    outcomes = {Method("uniform", "dsn", 6, 3): correct_on(5), Method("dsn", "dsn", 6, 3): correct_on(8, sampler="dsn")}
    first = evaluation(outcomes, TARGETS, name="a", networks={"dsn": "1", "dsn sampler": "s"})
    control = {Method("uniform", "dsn", 6, 3): correct_on(7)}
    second = evaluation(control, TARGETS, name="c", networks={"dsn": "2", "dsn sampler": "s"})
    statistics = summary(Study([add_training(first, "control", second)], number=100))
    assert shown(statistics) == {
        ("dsn", "dsn", "uniform", "dsn"),
        ("dsn", "dsn", "uniform", "control:dsn"),
        ("uniform", "dsn", "uniform", "control:dsn"),
    }


def trained(num_correct: int, candidates: int, name: str) -> StoredEvaluation:
    """A training that keeps three clips of a video, out of so many candidates in a section."""
    hits = {"hits": np.ones(10, int), "possible_hits": np.ones(10, int)}
    outcomes = {
        Method("dsn", "dsn", 3, candidates): correct_on(num_correct, sampler="dsn", **hits),
        Method("uniform", "dsn", 3, candidates): correct_on(2, **hits),
    }
    return evaluation(outcomes, TARGETS, name=name, networks={"dsn": name, "dsn sampler": name})


def test_trainings_with_different_numbers_of_candidates_are_compared():
    """As in Table II."""
    joined = add_training(trained(8, 3, "a"), "b", trained(7, 3, "b"))
    statistics = summary(Study([add_training(joined, "c", trained(5, 6, "c"))], number=100))
    main = comparison_table.main_differences(statistics)
    gains = {
        (d["method"]["classifier"], d["other"]["classifier"]): round(d["top1"]["value"], 6)
        for d in main
        if d["method"]["selection"] == d["other"]["selection"] == "dsn"
    }
    assert gains == {("dsn", "b:dsn"): 0.1, ("dsn", "c:dsn"): 0.3, ("b:dsn", "c:dsn"): 0.2}
    of_two = [d for d in statistics["differences"] if d["method"]["N"] != d["other"]["N"]]
    assert all(d["method"]["selection"] == d["other"]["selection"] for d in of_two)
    assert all((d["hit_rate"] is None) == (d in of_two) for d in statistics["differences"])  # of different sections
    markdown = comparison_table.differences_table(statistics, main).markdown()
    assert "| dsn | dsn | dsn (c:dsn) | 3:3 and 3:6 | +30.0 " in markdown
