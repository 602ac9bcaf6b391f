"""Searches: trials that follow from those before, their record, the pruner, the frontier, a kill and what goes on."""

import csv
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json

from conftest import NEEDLE
from dsn_lightning.errors import UsageError
from dsn_lightning.launch.objectives import Objective
from dsn_lightning.launch.search import run_search
from dsn_lightning.launch.trial_study import TrialStudy, require_optuna
from dsn_lightning.runs import read_configs
from dsn_lightning.runs.search_plan import SearchPlan, read_search_plan
from dsn_lightning.runs.sweep_folder import SweepFolder, SweepJob
from helpers.processes import PRELOAD, call, start
from helpers.recorded_jobs import EPOCHS, record
from helpers.trained_runs import metrics_of, processes_in, states

SPACE = {"M": CategoricalDistribution([1, 3]), "gamma": FloatDistribution(0, 1)}
PLAN = SearchPlan(
    arguments=["M=1,3", "gamma=interval(0,1)"],
    config_name="train",
    space={name: distribution_to_json(distribution) for name, distribution in SPACE.items()},
    metric=["best"],
    sampler="tpe",
    pruner="none",
    seed=0,
    trials=6,
)
ACCURACY, COST = Objective("val/top1"), Objective("gmacs")


def study_in(folder: Path, plan: SearchPlan = PLAN, objectives=(ACCURACY,), at_once: int = 1) -> TrialStudy:
    return TrialStudy(folder / "search.journal", plan, objectives, at_once=at_once)


def proposals(folder: Path, plan: SearchPlan, *, reopened: bool = False) -> list[dict]:
    """What is proposed to a user whose accuracy is gamma."""
    study, found = study_in(folder, plan), []
    for number in range(plan.trials):
        study = study_in(folder, plan) if reopened else study
        found.append(study.ask())
        study.finish(number, [found[-1]["gamma"]])
    return found


def test_trials_depend_on_the_seed_and_on_those_before(tmp_path):
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).mkdir()
    plan = replace(PLAN, trials=9)
    found = proposals(tmp_path / "a", plan)
    assert found == proposals(tmp_path / "b", plan, reopened=True)  # after a kill, too
    assert found != proposals(tmp_path / "c", replace(plan, seed=1))
    drawn = proposals(tmp_path / "d", replace(plan, sampler="random"))
    assert found[:5] == drawn[:5]  # nothing has been learned yet
    assert found[5:] != drawn[5:]
    assert {trial["M"] for trial in found} == {1, 3}


def test_values_decide_what_is_best(tmp_path):
    study = study_in(tmp_path, objectives=(ACCURACY, COST))
    for number, values in enumerate([(0.5, 2.0), (0.75, 3.0), (0.5, 3.0), None]):
        study.ask()
        study.finish(number, values)
    assert study.frontier() == [0, 1]
    assert [row["on_frontier"] for row in study.rows()] == [True, True, False, False]
    assert [row["state"] for row in study.rows()] == ["done", "done", "done", "failed"]
    assert [row["gmacs"] for row in study.rows()] == [2.0, 3.0, 3.0, None]


def test_the_rest_of_a_write_is_no_damage_but_other_content_is(tmp_path):
    study = study_in(tmp_path)
    study.ask()
    journal = tmp_path / "search.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "stu')  # killed while it wrote, with the lock in its hands
    Path(f"{journal}.lock").touch()
    study = study_in(tmp_path)
    study.finish(0, [0.5])
    assert study_in(tmp_path).states() == ["done"]
    journal.write_bytes(b"[]\n" + whole)
    with pytest.raises(UsageError, match=r"search\.journal: is damaged"):
        study_in(tmp_path)


@pytest.mark.parametrize(
    ("written", "damaged"),
    [
        ('"directions":[2]', '"directions":[1]'),
        ("[0.5]", "[NaN]"),
        ("[0.5]", "[1000000000000000000000]"),
        ("[0.5]", '["0.5"]'),
        ("[0.5]", "[0.5,2.0]"),
        ('"intermediate_value":0.25', '"intermediate_value":Infinity'),
        ('"step":0', '"step":"0"'),
        ("[1, 3]", "[1, 4]"),
        ('"param_name":"gamma"', '"param_name":"M"'),
        ('"op_code":6', '"op_code":66'),
    ],
)
def test_what_no_trial_of_the_search_can_have_is_damage(written, damaged, tmp_path):
    study, journal = study_in(tmp_path), tmp_path / "search.journal"
    study.ask()
    study.report(0, {0: 0.25})
    study.finish(0, [0.5])
    content = journal.read_text()
    assert written in content
    journal.write_text(content.replace(written, damaged))
    with pytest.raises(UsageError, match=r"search\.journal: is damaged \(.+\); begin a new search$"):
        study_in(tmp_path)


def test_a_trial_that_was_not_proposed_to_its_end_is_proposed_again(tmp_path):
    """What is on disk when the search is killed between two lines of Optuna's journal."""
    study, journal = study_in(tmp_path), tmp_path / "search.journal"
    study.ask()
    study.finish(0, [0.5])
    before = len(journal.read_bytes().splitlines())
    parameters = study.ask()
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == before + 3  # it begins, M, gamma
    for count in range(before, before + 3):
        journal.write_bytes(b"".join(lines[:count]))
        study = study_in(tmp_path)
        assert study.states() == ["done"]
        assert study.ask() == parameters
        assert study_in(tmp_path).states() == ["done", "running"]


def test_a_search_without_optuna_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError, match=r"^sweep.sampler=tpe: needs the package optuna: pip install 'dsn-light"):
        require_optuna("tpe")


class Planner:
    """Plans jobs whose quality follows from their number; see `helpers.recorded_jobs`."""

    def __init__(self, sweep: SweepFolder, qualities: list[float], seconds: float = 0.0) -> None:
        self.sweep = sweep
        self.qualities = qualities
        self.seconds = seconds

    def __call__(self, number: int, parameters: dict) -> SweepJob:
        job = SweepJob([f"{key}={value}" for key, value in parameters.items()], str(number))
        settings = {"quality": self.qualities[number], "fails": self.qualities[number] < 0, "seconds": self.seconds}
        run = self.sweep.run(job)
        run.path.mkdir(parents=True)
        run.composed_yaml.write_text(json.dumps(settings))
        return job


def search(folder: Path, plan: SearchPlan, qualities: list[float], *, at_once: int = 1, seconds: float = 0.0) -> list:
    folder.mkdir(exist_ok=True)
    sweep = SweepFolder(folder)
    planner = Planner(sweep, qualities, seconds)
    return run_search(sweep, plan, (Objective("best"),), planner, record, at_once=at_once, preload=PRELOAD)


def trials(sweep: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((sweep / "trials.csv").read_text().splitlines()))


def starts(sweep: Path) -> list[int]:
    return [len((sweep / job / "starts.txt").read_text().splitlines()) for job in sorted(os.listdir(sweep)) if
            (sweep / job / "starts.txt").exists()]  # fmt: skip


def test_a_search_records_its_trials_and_goes_on_to_more(tmp_path, capsys):
    qualities = [0.25, -1, 0.75, 0.5]
    jobs = search(tmp_path / "sweep", replace(PLAN, trials=3), qualities, at_once=2)
    assert [job.state for job in jobs] == ["done", "failed", "done"] == states(tmp_path / "sweep")
    rows = trials(tmp_path / "sweep")
    assert [row["best"] for row in rows] == ["0.25", "", "0.75"]
    assert [row["on_frontier"] for row in rows] == ["False", "False", "True"]
    assert [row["folder"] for row in rows] == list("012")
    assert all(row["M"] in "13" and 0 <= float(row["gamma"]) <= 1 for row in rows)
    shown = capsys.readouterr().out
    assert "best trial" in shown
    assert "1 of the jobs did not end well; they count as trials" in shown
    search(tmp_path / "sweep", replace(PLAN, trials=4), qualities)
    assert states(tmp_path / "sweep") == ["done", "failed", "done", "done"]
    assert starts(tmp_path / "sweep") == [1] * 4
    assert trials(tmp_path / "sweep")[:3] == rows


def test_the_median_pruner_ends_trials_without_prospects(tmp_path):
    sweep, plan = tmp_path / "sweep", replace(PLAN, pruner="median", trials=7)
    sweep.mkdir()
    study = study_in(sweep, plan)
    for number in range(5):
        study.ask()
        assert not study.report(number, dict.fromkeys(range(EPOCHS), 0.5))
        study.finish(number, [0.5])
    jobs = search(sweep, plan, [0.5] * 5 + [0.25, 0.75], seconds=0.4)
    assert [job.state for job in jobs] == ["done"] * 5 + ["pruned", "done"] == states(sweep)
    pruned = trials(sweep)[5]
    assert (pruned["state"], pruned["best"], pruned["on_frontier"]) == ("pruned", "", "False")
    assert json.loads((sweep / "5" / "progress.json").read_text())["epoch"] < EPOCHS
    assert read_configs(sweep)["state"].tolist()[5:] == ["pruned", "finished"]
    search(sweep, plan, [])  # nothing is left to do
    assert starts(sweep) == [1] * 2


@pytest.mark.parametrize("lost", ["the record of the sweep", "the end of the job", "the value"])
def test_a_search_goes_on_wherever_it_was_killed(lost, tmp_path):
    """What is on disk when the sweep is killed between two steps."""
    sweep = tmp_path / "sweep"
    search(sweep, replace(PLAN, trials=1), [0.5])
    journal, record_of_sweep = sweep / "search.journal", json.loads((sweep / "sweep.json").read_text())
    study = study_in(sweep)
    parameters = study.ask()
    if lost != "the record of the sweep":
        job = Planner(SweepFolder(sweep), [0, 0.75])(1, parameters)
        record_of_sweep["jobs"].append(vars(job) | {"state": "running" if lost == "the end of the job" else "done"})
        (sweep / "sweep.json").write_text(json.dumps(record_of_sweep))
        record(str(sweep / "1"), str(sweep))
    assert study_in(sweep).states() == ["done", "running"]
    search(sweep, replace(PLAN, trials=2), [0.5, 0.75])
    assert states(sweep) == ["done", "done"]
    assert [row["best"] for row in trials(sweep)] == ["0.5", "0.75"]
    assert float(trials(sweep)[1]["gamma"]) == parameters["gamma"]
    assert starts(sweep) == [1, 2 if lost == "the end of the job" else 1]
    journal.unlink()
    with pytest.raises(UsageError, match=r"search\.journal: expected 2 trials, got 0"):
        search(sweep, PLAN, [])


def test_the_plan_of_a_search_is_read_as_it_was_written(tmp_path):
    PLAN.write(tmp_path / "search.json")
    assert read_search_plan(tmp_path / "search.json") == PLAN
    assert read_search_plan(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": 2}, "expected search format 1, got 2"),
        ({"space": {"M": 3}}, "is damaged: space has an unexpected value"),
        ({"seed": -1}, "is damaged: seed has an unexpected value"),
        ({"arguments": "M=1,3"}, "is damaged: arguments has an unexpected value"),
    ],
)
def test_a_damaged_plan_is_refused(changed, message, tmp_path):
    file = tmp_path / "search.json"
    PLAN.write(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    with pytest.raises(UsageError, match=message):
        read_search_plan(file)
    file.write_text("{")
    with pytest.raises(UsageError, match="is damaged"):
        read_search_plan(file)


SMALL = [
    *NEEDLE, "schedule.max_epochs=3", "schedule.batch_size=4", "N=2", "trainer.check_val_every_n_epoch=1",
    "algorithm.warmup_epochs=1", "test.enabled=false", "trainer.accelerator=cpu",
]  # fmt: skip


def test_a_killed_search_goes_on_with_its_trials(needle_root, tmp_path):
    """dsn-train: kill -9 in the second of two trials, which goes on from its checkpoint; then a third one."""
    sweep = tmp_path / "sweep"
    process = start("dsn-train", "-m", f"dataset.root={needle_root}", *SMALL, "sweep.sampler=tpe", "sweep.trials=2",
                    "M=1,2", "gamma=interval(0,1)", "schedule.lr=tag(log,interval(1e-4,1e-1))",
                    "sweep.metric=val/map", "hydra.sweep.dir=sweep", cwd=tmp_path)  # fmt: skip
    while process.is_alive() and not (sweep / "1" / "progress.json").is_file():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    deadline = time.monotonic() + 20
    while processes_in(sweep) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_in(sweep) == []
    assert states(sweep) == ["done", "running"]
    before, multirun = trials(sweep), (sweep / "multirun.yaml").read_bytes()
    epochs = json.loads((sweep / "1" / "progress.json").read_text())["epoch"]
    done = call("dsn-train", "sweep.resume=sweep", "sweep.trials=3", cwd=tmp_path)
    assert states(sweep) == ["done", "done", "done"]
    rows = trials(sweep)
    assert rows[0] | {"on_frontier": ""} == before[0] | {"on_frontier": ""}
    assert [rows[1][key] for key in ("M", "gamma", "schedule.lr")] == [
        before[1][key] for key in ("M", "gamma", "schedule.lr")
    ]
    for job, row in enumerate(rows):
        history = metrics_of(sweep / str(job))
        assert len(history) == 3
        assert float(row["val/map"]) == max(float(epoch["val/map"]) for epoch in history)
        config = json.loads((sweep / str(job) / "config.json").read_text())
        assert [config["gamma"], config["M"]] == [float(row["gamma"]), int(row["M"])]
        assert config["sweep"]["group"] == "sweep"
    assert (sweep / "1" / "log.txt").read_text().count("12 training, 6 held-out") == 2
    assert epochs < 3
    assert (sweep / "multirun.yaml").read_bytes() == multirun
    assert "best trial" in done.stdout
