"""Full and read-only disks: one line, the state in status.json, no temporary files, and the run goes on afterwards."""

import json
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.fault_fixtures import SET
from helpers.faults import assert_one_line, fill, partial_files, small_disk
from helpers.processes import call, start
from helpers.trained_runs import assert_same_run, epochs_done


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for a training."""
    with small_disk(tmp_path / "disk", "8m") as place:
        yield place


def status_of(run: Path) -> dict:
    return json.loads((run / "status.json").read_text())


@pytest.mark.parametrize("left", [0, *(pytest.param(size, marks=pytest.mark.faults) for size in (20_000, 60_000))])
def test_a_training_on_a_disk_that_fills_fails_in_one_line_and_resumes(left, disk, training, attempt, tmp_path):
    """Filled after the first epoch, but for some bytes: what is written next may be a checkpoint or a row."""
    with attempt("full disk: dsn-train"):
        process = start("dsn-train", *training, "schedule.max_epochs=12", cwd=disk, output=tmp_path)
        while process.is_alive() and epochs_done(disk / "run") < 1:
            time.sleep(0.002)
        filler = fill(disk, leave=left)
        process.join()
        assert process.exitcode == 2, (tmp_path / "err").read_text()
        assert_one_line((tmp_path / "err").read_text(), "dsn-train", "go on")
        status = status_of(disk / "run")
        assert (status["state"], status["exit_code"]) == ("failed", 2)
        assert "go on" in status["error"]
        assert partial_files(disk) == []
        filler.unlink()
        call("dsn-train", "resume=run", cwd=disk)
        call("dsn-train", *training, "schedule.max_epochs=12", cwd=tmp_path)
        assert_same_run(disk / "run", tmp_path / "run")


def evaluation(trained: Path) -> list[str]:
    return [f"checkpoint={trained}", "hydra.run.dir=evaluated"]


@pytest.mark.parametrize("left", [70_000, pytest.param(90_000, marks=pytest.mark.faults)])
def test_an_evaluation_on_a_full_disk_fails_in_one_line(left, trained, attempt, tmp_path):
    with small_disk(tmp_path / "disk", "400k") as disk, attempt("full disk: dsn-evaluate"):
        filler = fill(disk, leave=left)
        done = call("dsn-evaluate", *evaluation(trained), cwd=disk, expect=2)
        assert_one_line(done.stderr, "dsn-evaluate", "No space left on device")
        assert partial_files(disk) == []
        filler.unlink()
        call("dsn-evaluate", *evaluation(trained), "overwrite=true", "test.figures=false", cwd=disk)
        assert (disk / "evaluated" / "results.json").is_file()


@pytest.mark.faults
def test_a_limit_on_the_size_of_files_is_one_line(training, attempt, tmp_path):
    """What a full disk is without the right to mount one."""
    with attempt("limit on the size of files: dsn-train"):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        process = start("dsn-train", *training, cwd=tmp_path)
        assert process.pid is not None
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (70_000, before[1]))
        process.join()
        assert process.exitcode == 2
        assert_one_line((tmp_path / "err").read_text(), "dsn-train")
        assert status_of(tmp_path / "run")["state"] == "failed"
        assert partial_files(tmp_path) == []
        call("dsn-train", "resume=run", cwd=tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("command", ["dsn-train", "dsn-evaluate", "dsn-prepare"])
def test_a_read_only_disk_is_refused_before_the_work(command, needle_set, training, trained, attempt, tmp_path):
    with small_disk(tmp_path / "disk", "1m") as disk, attempt(f"read-only disk: {command}"):
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        arguments = {
            "dsn-train": [*training, f"hydra.run.dir={disk}/run"],
            "dsn-evaluate": [*evaluation(trained), f"hydra.run.dir={disk}/evaluated"],
            "dsn-prepare": ["dataset=needle", f"dataset.root={needle_set}", *SET, f"output={disk}/prepared"],
        }[command]
        done = call(command, *arguments, cwd=tmp_path, expect=2)
        assert_one_line(done.stderr, command, str(disk), "Read-only file system")


@pytest.mark.faults
def test_a_preparation_on_a_disk_that_fills_goes_on_afterwards(needle_set, attempt, tmp_path):
    with small_disk(tmp_path / "disk", "2m") as disk, attempt("full disk: dsn-prepare"):
        arguments = ["dataset=needle", f"dataset.root={needle_set}", *SET, "output=prepared", "steps=[check,transcode]"]
        process = start("dsn-prepare", *arguments, "jobs=1", cwd=disk, output=tmp_path)
        while process.is_alive() and not list(disk.rglob("*.mp4")):
            time.sleep(0.002)
        filler = fill(disk, leave=0)
        process.join()
        assert process.exitcode == 2
        assert_one_line((tmp_path / "err").read_text(), "dsn-prepare", "the disk is full")
        assert partial_files(disk) == []
        filler.unlink()
        call("dsn-prepare", *arguments, cwd=disk)
        assert len(list((disk / "prepared" / "small").glob("*.mp4"))) == 14
