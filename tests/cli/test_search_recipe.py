"""Searches on the command line: what cannot be searched is refused in one line, before anything is written."""

from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from dsn_lightning.cli.search_recipe import _begin, _check
from dsn_lightning.errors import UsageError
from dsn_lightning.runs.search_plan import SearchPlan, read_search_plan
from dsn_lightning.runs.sweep_folder import SweepFolder
from helpers.processes import call

RIGHT = {"sampler": "tpe", "pruner": "none", "trials": 10, "seed": 0}
PLAN = SearchPlan(["M=1,3"], "train", {"M": "{}"}, ["best"], "tpe", "none", 0, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gamma=interval(0,1)"], "gamma=interval(0,1): a grid needs separate values; list its values, or search with"),
        (["M=1,3", "sweep.pruner=median"], "sweep.pruner=median: a grid trains each job to its end"),
        (["M=1,3", "sweep.sampler=tpe", "hydra/launcher=basic"], "leave hydra/launcher out"),
        (["M=1,3", "sweep.sampler=tpe", "hydra.sweep.subdir='M${M}'"], "hydra.sweep.subdir: the folders of a search"),
        (
            ["M=1,3", "sweep.sampler=tpe", "sweep.pruner=median", "sweep.metric=[best,gmacs]"],
            "sweep.pruner=median: a pruner needs one figure that each epoch has; choose sweep.metric=best or val/...",
        ),
        (["M=1,3", "sweep.sampler=tpe", "sweep.metric=test/dsn/top1"], "is a figure of the test videos"),
    ],
)
def test_what_no_search_can_do_is_one_line(arguments, message, tmp_path):
    done = call("dsn-train", "-m", *arguments, "hydra.sweep.dir=sweep", cwd=tmp_path, expect=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("dsn-train: error: ")
    assert message in line
    assert not any((tmp_path / "sweep").glob("*"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sampler", "tp", "sweep.sampler=tp: must be grid, random, tpe; did you mean tpe?"),
        ("pruner", "medium", "sweep.pruner=medium: must be none, median; did you mean median?"),
        ("trials", 0, "sweep.trials=0: must be a whole number of at least 1"),
        ("trials", True, "sweep.trials=True: must be a whole number of at least 1"),
        ("seed", -1, "sweep.seed=-1: must be a whole number of at least 0"),
    ],
)
def test_wrong_values_are_named(key, value, message):
    _check(RIGHT)
    with pytest.raises(UsageError) as error:
        _check(RIGHT | {key: value})
    assert str(error.value) == message


def test_a_search_keeps_its_rules_but_for_the_number_of_trials(tmp_path):
    sweep, config = SweepFolder(tmp_path / "sweep"), OmegaConf.create({"M": 3})
    _begin(sweep, config, PLAN, is_stored=False)
    _begin(sweep, config, replace(PLAN, trials=20, arguments=["N=1,3"]), is_stored=True)
    assert read_search_plan(sweep.search_json) == replace(PLAN, trials=20)
    with pytest.raises(UsageError, match=r"^sweep\.resume=.*the configurations no longer give its space; begin a new"):
        _begin(sweep, config, replace(PLAN, space={"N": "{}"}), is_stored=True)
