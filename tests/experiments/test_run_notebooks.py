"""What `make notebooks` trains, and what it leaves as it is."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import run_notebooks
from dsn_lightning.runs import SweepFolder


@pytest.fixture
def output(dsn_run, small_sweep, tmp_path) -> Path:
    """A finished run, a sweep whose jobs are all done, and a data set."""
    few = shutil.ignore_patterns("checkpoints", "figures", "*.npz")
    shutil.copytree(dsn_run, tmp_path / "dsn", ignore=few)
    shutil.copytree(small_sweep, tmp_path / "sweep", ignore=few)
    set_state(tmp_path / "sweep", "done")
    (tmp_path / "data" / "1").mkdir(parents=True)
    (tmp_path / "data" / "1" / "test_0.mp4").touch()
    return tmp_path


@pytest.fixture
def trained(monkeypatch) -> list:
    """The arguments of each training that would start."""
    calls: list = []
    monkeypatch.setattr(run_notebooks, "_train", calls.append)
    for name in ("DSN_RUN", "DSN_SWEEP", "DSN_VIDEO", "DSN_VIDEOS"):
        monkeypatch.delenv(name, raising=False)
    return calls


def set_state(sweep: Path, state: str) -> None:
    record = SweepFolder(sweep).read()
    SweepFolder(sweep).write(replace(record, jobs=[replace(job, state=state) for job in record.jobs]))


def test_finished_runs_are_used_again_and_variables_of_the_user_come_first(output, trained, monkeypatch):
    monkeypatch.setenv("DSN_RUN", "/mine")
    assert run_notebooks.make_runs(output) == {
        "DSN_RUN": "/mine",
        "DSN_SWEEP": str(output / "sweep"),
        "DSN_VIDEO": str(output / "data" / "1" / "test_0.mp4"),
        "DSN_VIDEOS": str(output / "data"),
    }
    assert trained == []


def test_what_was_interrupted_is_continued(output, trained):
    status = json.loads((output / "dsn" / "status.json").read_text())
    (output / "dsn" / "status.json").write_text(json.dumps(status | {"state": "stopped"}))
    set_state(output / "sweep", "stopped")
    run_notebooks.make_runs(output)
    assert trained == [f"resume={output / 'dsn'}", f"sweep.resume={output / 'sweep'}"]


def test_a_sweep_starts_from_the_networks_of_the_run(output, trained):
    shutil.rmtree(output / "sweep")
    config = json.loads((output / "dsn" / "config.json").read_text())
    config["test"]["baseline"], config["observation"]["checkpoint"] = "/shared/b.ckpt", "/shared/r2d.ckpt"
    (output / "dsn" / "config.json").write_text(json.dumps(config))
    run_notebooks.make_runs(output)
    ((first, *arguments),) = trained
    assert first == "-m"
    assert {"classifier.checkpoint=/shared/b.ckpt", "observation.checkpoint=/shared/r2d.ckpt"} < {*arguments}


def test_a_notebook_that_does_not_exist_is_refused(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run_notebooks.py", "02_one_run", "07_more"])
    with pytest.raises(SystemExit):
        run_notebooks.main()
    assert "no notebook 07_more; there are 01_sections_and_clips, 02_one_run" in capsys.readouterr().err
