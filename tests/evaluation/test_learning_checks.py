"""Networks that have learned nothing are named, and their figures are not printed as findings."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from dsn_lightning.cli.evaluation_output import show_results, write_statistics
from dsn_lightning.evaluation.comparison_table import above_chance
from dsn_lightning.evaluation.learning_checks import classifiers_at_chance, policy_messages
from dsn_lightning.evaluation.statistics_file import summary
from dsn_lightning.evaluation.study import Study
from helpers.clip_scores import columns, video
from helpers.evaluations import (
    DSN_WITH_OWN_CLASSIFIER,
    EXACT,
    ORACLE,
    UNIFORM,
    correct_on,
    evaluation,
    one_hot,
)
from helpers.report_files import row_of
from helpers.synthetic import composed


@pytest.mark.parametrize(("correct", "at_chance"), [(0, True), (5, True), (10, True), (15, False), (40, False)])
def test_chance_is_within_the_binomial_interval(correct, at_chance):
    """Of 40 videos and 5 classes; the 95% interval of 10 of 40 begins at 12.7%, that of 15 of 40 at 22.7%."""
    outcomes = {UNIFORM: correct_on(correct, 40), ORACLE: correct_on(40, 40, kind="upper_bound")}
    targets = one_hot(np.zeros(40, int), 5)
    outcomes = {
        m: replace(o, probabilities=np.pad(o.probabilities, ((0, 0), (0, 0), (0, 3)))) for m, o in outcomes.items()
    }
    found = classifiers_at_chance(outcomes, targets)
    assert found == ({"baseline": pytest.approx(correct / 40)} if at_chance else {})


def test_findings_about_a_classifier_at_chance_are_left_out():
    outcomes = {
        UNIFORM: correct_on(20, 40),
        ORACLE: correct_on(36, 40, kind="upper_bound"),
        EXACT: correct_on(38, 40, kind="upper_bound"),
        replace(UNIFORM, selection="surest"): correct_on(20, 40),
        replace(UNIFORM, classifier="dsn"): correct_on(30, 40),
        DSN_WITH_OWN_CLASSIFIER: correct_on(34, 40, sampler="dsn"),
    }
    messages = ("dsn's policy has collapsed",)
    statistics = summary(
        Study([evaluation(outcomes, one_hot(np.zeros(40, int), 2), policy_messages=messages)], number=100)
    )
    assert statistics["at_chance"] == {"baseline": 0.5}
    assert statistics["warnings"] == [
        "baseline's classifier is at chance: 50.0% of 2 classes on 40 videos; differences and gains are not reported",
        *messages,
    ]
    assert statistics["headroom"]
    shown = above_chance(statistics)
    assert shown["headroom"] == []
    assert {entry["method"]["classifier"] for entry in shown["differences"]} == {"dsn"}


@pytest.mark.parametrize(("correct", "at_chance"), [(20, True), (30, False)])
def test_a_baseline_alone_tells_what_there_is_to_gain_unless_it_is_at_chance(correct, at_chance, tmp_path):
    outcomes = {
        UNIFORM: correct_on(correct, 40),
        ORACLE: correct_on(36, 40, kind="upper_bound"),
        EXACT: correct_on(38, 40, kind="upper_bound"),
        replace(UNIFORM, selection="surest"): correct_on(correct, 40),
    }
    console = Console(file=io.StringIO(), width=80)
    given = evaluation(outcomes, one_hot(np.zeros(40, int), 2))
    (entry,) = write_statistics(given, tmp_path, 100, console)["headroom"]
    printed = console.file.getvalue()
    assert ("warning: baseline's classifier is at chance: 50.0% of 2 classes" in printed) == at_chance
    assert ("headroom: " in printed) == (entry["verdict"] + "." in printed) == (not at_chance)


@pytest.mark.parametrize("resamples", [0, 100])
def test_warnings_are_printed_once_with_and_without_intervals(resamples, tmp_path):
    row = row_of(selection="uniform", classifier="baseline", M=6, N=3, clips=6, top1=0.5)
    outcomes = {UNIFORM: correct_on(20, 40, row=row)}
    given = evaluation(outcomes, one_hot(np.zeros(40, int), 2), policy_messages=("dsn's policy has collapsed",))
    settings = composed(f"run_dir={tmp_path}", f"test.bootstrap={resamples}", "test.figures=false")
    console = Console(file=io.StringIO(), width=200)
    show_results([row], given, settings, console, title="")
    printed = console.file.getvalue()
    assert printed.count("warning: baseline's classifier is at chance: 50.0% of 2 classes on 40 videos") == 1
    assert printed.count("warning: dsn's policy has collapsed") == 1
    assert (tmp_path / "statistics.json").is_file() == bool(resamples)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([[0.0, 0.01], [0.01, 0.0]], "dsn's policy is still uniform at 2:2 (entropy 0.6931, ln 2 = 0.6931)"),
        ([[0.0, 9.0], [0.0, 9.0]], "dsn's policy has collapsed at 2:2: it keeps clip 1 in 100.0% of the sections"),
        ([[9.0, 0.0], [0.0, 9.0]], None),
        ([[0.0, 1.0], [1.0, 0.0]], None),
    ],
)
def test_policies_that_have_learned_nothing(logits, message):
    policies = {"dsn": {(2, 2): np.array(logits, np.float32)}}
    found = policy_messages(columns([video(policies=policies)]))
    assert [line[: len(message)] for line in found] == [message] if message else found == []
