"""A sweep trains what it says: each job is bit for bit the run of a single command, wherever the settings come from."""

import json
import os
from pathlib import Path

import pytest
import yaml

from helpers.processes import call
from helpers.trained_runs import assert_same_run, states

RUN = {
    "gamma": 2.5,
    "N": 2,
    "schedule": {"max_epochs": 2, "batch_size": 4},
    "algorithm": {"warmup_epochs": 1},
    "trainer": {"check_val_every_n_epoch": 1, "accelerator": "cpu"},
    "test": {"enabled": False},
    "progress": False,
    "dataset": {"num_train": 12, "num_val": 6, "num_test": 6},
}
SWEPT = RUN | {"hydra": {"mode": "MULTIRUN", "sweeper": {"params": {"M": "1,2"}}}}


@pytest.fixture
def folder(needle_root: Path, tmp_path: Path) -> Path:
    """A working folder with configurations in ``C``: a primary one, and experiments with and without a sweep."""
    root = {"dataset": RUN["dataset"] | {"root": str(needle_root)}}
    (tmp_path / "C" / "experiment").mkdir(parents=True)
    (tmp_path / "C" / "mine.yaml").write_text(yaml.safe_dump({"defaults": ["train", "_self_"]} | RUN | root))
    for name, content in (("myrun", RUN), ("mysweep", SWEPT)):
        text = "# @package _global_\n" + yaml.safe_dump(content | root)
        (tmp_path / "C" / "experiment" / f"{name}.yaml").write_text(text)
    return tmp_path


def without_place(run: Path) -> dict:
    """The run's configuration without its folder and the name of its sweep."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    return config | {"run_dir": None, "sweep": config["sweep"] | {"group": None}}


def check(sweep: Path, alone: Path, job: str = "1") -> None:
    assert states(sweep) == ["done", "done"]
    assert without_place(sweep / job) == without_place(alone)
    assert without_place(alone)["gamma"] == 2.5
    assert_same_run(sweep / job, alone)


def test_a_primary_configuration_of_the_users(folder):
    arguments = ["--config-dir=C", "--config-name=mine"]
    call("dsn-train", *arguments, "-m", "M=1,2", "hydra.sweep.dir=sweep", cwd=folder)
    call("dsn-train", *arguments, "M=2", "hydra.run.dir=alone", cwd=folder)
    check(folder / "sweep", folder / "alone")
    assert yaml.safe_load((folder / "sweep" / "multirun.yaml").read_text())["gamma"] == 2.5


def test_an_experiment_that_sets_the_sweep_and_its_resumption(folder):
    sweep = folder / "sweep"
    (sweep / "1").mkdir(parents=True)
    (sweep / "1" / "checkpoints").write_text("in the way of this job's checkpoints")
    call("dsn-train", "--config-dir=C", "-m", "experiment=mysweep", "hydra.sweep.dir=sweep", cwd=folder, expect=1)
    assert states(sweep) == ["done", "failed"]
    multirun = (sweep / "multirun.yaml").read_bytes()
    (sweep / "1" / "checkpoints").unlink()
    (folder / "elsewhere").mkdir()
    call("dsn-train", "sweep.resume=../sweep", cwd=folder / "elsewhere")
    assert (sweep / "multirun.yaml").read_bytes() == multirun
    call("dsn-train", "--config-dir=C", "experiment=myrun", "M=2", "hydra.run.dir=alone", cwd=folder)
    check(sweep, folder / "alone")


@pytest.mark.parametrize("place", ["file://C", "pkg://my_package.conf"])
def test_a_search_path(place, folder):
    (folder / "my_package").mkdir()
    (folder / "C").rename(folder / "my_package" / "conf") if place.startswith("pkg") else None
    arguments = [f"hydra.searchpath=[{place}]", "experiment=myrun"]
    env = {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}
    call("dsn-train", "-m", *arguments, "M=1,2", "hydra.sweep.dir=sweep", cwd=folder, env=env)
    call("dsn-train", *arguments, "M=2", "hydra.run.dir=alone", cwd=folder, env=env)
    check(folder / "sweep", folder / "alone")


def test_what_hydra_knows_of_a_job_is_what_the_sweep_composed(folder):
    """References to Hydra's own settings, which a flat copy would lose."""
    content = yaml.safe_load((folder / "C" / "mine.yaml").read_text())
    content["note"] = "${hydra:runtime.choices.schedule} ${hydra:job.num} ${hydra:job.override_dirname}"
    content["hydra"] = {"sweep": {"subdir": "M${M}"}}
    (folder / "C" / "mine.yaml").write_text(yaml.safe_dump(content))
    call("dsn-train", "--config-dir=C", "--config-name=mine", "-m", "M=1,2", "schedule.max_epochs=2",
         "hydra.sweep.dir=sweep", cwd=folder)  # fmt: skip
    note = json.loads((folder / "sweep" / "M2" / "config.json").read_text())["note"]
    assert note == "tiny 1 M=2,schedule.max_epochs=2"
