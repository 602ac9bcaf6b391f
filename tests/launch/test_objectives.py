"""What jobs of a sweep return: figures of recorded runs, never those of the test videos."""

import json
import shutil

import pytest

from dsn_lightning.errors import UsageError
from dsn_lightning.launch.objectives import Objective, missing_value, objectives_of, values_of
from dsn_lightning.runs.run_folder import RunFolder
from helpers.trained_runs import metrics_of


@pytest.fixture
def run(small_sweep, tmp_path):
    shutil.copytree(small_sweep / "0", tmp_path / "run")
    return RunFolder(tmp_path / "run")


def named(metric, *, subset="val", tested=True):
    return objectives_of(metric, subset=subset, tested=tested)


@pytest.mark.parametrize("name", ["val/top1", "val/map"])
def test_a_figure_of_the_epochs_is_that_of_the_best_one(name, run):
    expected = [float(row[name]) for row in metrics_of(run.path)]
    (objective,) = named(name, subset="test")
    assert objective.value(run) == max(expected)
    assert objective.history(run) == dict(enumerate(expected))
    assert objective.is_maximized


def test_the_best_value_is_that_of_the_figure_that_progress_names(run):
    (objective,) = named("best")
    assert run.progress()["best_of"] == "val/top1"
    assert objective.value(run) == run.best_value() == max(objective.history(run).values())
    assert objective.history(run) == Objective("val/top1").history(run)


def test_a_row_of_results_counts_only_if_it_is_of_held_out_videos(run):
    rows = json.loads(run.results_json.read_text())
    (of_uniform,) = [row for row in rows if row["selection"] == "uniform"]
    (own,) = [row for row in rows if row["selection"] == row["algorithm"]]
    (rate,) = named("results/uniform/map")
    assert rate.value(run) is None  # the run was evaluated on the test videos
    assert "results.json has no row with it" in str(missing_value([rate], run))
    for row in rows:
        row["dataset"] += "_held_out"
    run.results_json.write_text(json.dumps(rows))
    assert rate.value(run) == of_uniform["map"]
    both = named(["results/uniform/map", "gmacs"])
    assert values_of(both, run) == [of_uniform["map"], own["gmacs"]]
    assert [objective.is_maximized for objective in both] == [True, False]
    assert missing_value(both, run) is None
    run.results_json.write_text(json.dumps([*rows, own | {"M": 9, "gmacs": 2 * own["gmacs"]}]))
    assert values_of(both, run) is None  # of two schemes


def test_a_run_without_held_out_videos_has_no_best_value(run):
    run.progress_json.write_text(json.dumps(run.progress() | {"best_value": None, "best_of": None}))
    assert values_of(named("best"), run) is None
    assert "no held-out videos; see dataset.val_fraction" in str(missing_value(named("best"), run))


@pytest.mark.parametrize(
    ("metric", "subset", "tested", "message"),
    [
        ("test/dsn/top1", "val", True, "is a figure of the test videos, by which no setting may be chosen"),
        ("results/dsn/top1", "test", True, "is a figure of the test videos, by which no setting may be chosen"),
        (["best", "results/dsn/map"], "test", True, "sweep.metric=results/dsn/map: is a figure of the test videos"),
        ("results/dsn/top1", "val", False, "is in results.json, which a run writes with test.enabled=true"),
        ("gmacs", "test", False, "is in results.json"),
        ("val/accuracy", "val", True, "expected best, val/top1"),
        ("results/dsn/colour", "val", True, "expected best, val/top1"),
        ([], "val", True, "expected the name of a figure, or a list of different ones"),
        (["best", "best"], "val", True, "expected the name of a figure, or a list of different ones"),
        (None, "val", True, "sweep.metric=None: expected best"),
    ],
)
def test_other_figures_are_refused(metric, subset, tested, message):
    with pytest.raises(UsageError) as error:
        named(metric, subset=subset, tested=tested)
    assert message in str(error.value)


def test_the_cost_of_an_evaluation_of_test_videos_may_be_used(run):
    (cost,) = named("gmacs", subset="test")
    assert cost.value(run) is not None
    assert not cost.has_epochs
