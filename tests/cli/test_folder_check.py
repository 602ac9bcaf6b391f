"""A folder that holds a run or a sweep takes no other: refused with the remedy, or moved aside by overwrite=true."""

import json
import shutil
from pathlib import Path

import pytest

from conftest import NEEDLE
from helpers.processes import call
from helpers.trained_runs import assert_same_run, epochs_done
from helpers.wandb_files import read_all

TINY = [
    *NEEDLE, "schedule.batch_size=4", "M=2", "N=2", "trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu",
    "algorithm=baseline", "test.random_draws=2", "test.bootstrap=0", "test.figures=false", "progress=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def train(needle_root: Path) -> list[str]:
    return ["dsn-train", f"dataset.root={needle_root}", *TINY, "logger=wandb", "logger.wandb.mode=offline"]


@pytest.fixture(scope="module")
def finished(train: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run in ``run``."""
    root = tmp_path_factory.mktemp("finished")
    call(*train, "schedule.max_epochs=1", "hydra.run.dir=run", cwd=root)
    return root


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished / "run", tmp_path / "run")
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_a_repeated_training_is_refused_and_changes_nothing(train, copied):
    before = content(copied / "run")
    done = call(*train, "schedule.max_epochs=2", "hydra.run.dir=run", cwd=copied, expect=2)
    assert "hydra.run.dir=run: already holds a run (finished); a new one needs another folder" in done.stderr
    assert f"overwrite=true, which moves this one to {copied / 'run.1'}" in done.stderr
    assert "resume=" not in done.stderr
    assert content(copied / "run") == before


def test_a_folder_from_a_configuration_is_refused_too(train, copied):
    (copied / "conf").mkdir()
    (copied / "conf" / "mine.yaml").write_text("defaults: [train, _self_]\nhydra: {run: {dir: 'run'}}\n")
    done = call(train[0], "--config-dir=conf", "--config-name=mine", *train[1:], cwd=copied, expect=2)
    assert "hydra.run.dir=run: already holds a run (finished)" in done.stderr


def test_overwrite_moves_the_old_run_aside_and_starts_a_fresh_wandb_run(train, copied):
    before = content(copied / "run")
    for number in (1, 2):
        done = call(*train, "schedule.max_epochs=2", "hydra.run.dir=run", "overwrite=true", cwd=copied)
        assert f"moved run to {copied / f'run.{number}'}" in done.stdout
    assert content(copied / "run.1") == before
    assert [epochs_done(copied / name) for name in ("run.1", "run.2", "run")] == [1, 2, 2]
    ids = [{found.run.run_id for found in read_all(copied / name)} for name in ("run.1", "run.2", "run")]
    assert [len(found) for found in ids] == [1, 1, 1]
    assert len(set.union(*ids)) == 3


def test_an_unfinished_run_is_refused_and_resumed(train, tmp_path):
    call(*train, "schedule.max_epochs=3", "trainer.max_time=00:00:00:00", "hydra.run.dir=run", cwd=tmp_path)
    done = call(*train, "schedule.max_epochs=3", "hydra.run.dir=run", cwd=tmp_path, expect=2)
    assert "resume=run continues it" in done.stderr
    call("dsn-train", "resume=run", "trainer.max_time=null", cwd=tmp_path)
    assert epochs_done(tmp_path / "run") == 3


def test_a_requeued_job_of_slurm_goes_on_with_its_run(train, tmp_path):
    """The same command in the same job, executed again; not in another job, nor as a second command of the same one."""
    arguments = [*train, "schedule.max_epochs=3", "hydra.run.dir=run"]
    env = {"SLURM_JOB_ID": "4711", "SLURM_RESTART_COUNT": None}
    call(*arguments, "trainer.max_time=00:00:00:00", cwd=tmp_path, env=env)
    assert epochs_done(tmp_path / "run") <= 1
    call(*arguments, cwd=tmp_path, env=env, expect=2)
    call(*arguments, cwd=tmp_path, env={"SLURM_JOB_ID": "4712", "SLURM_RESTART_COUNT": "1"}, expect=2)
    call(*arguments, cwd=tmp_path, env={"SLURM_JOB_ID": "4711", "SLURM_RESTART_COUNT": "1"})
    assert epochs_done(tmp_path / "run") == 3
    assert len({found.run.run_id for found in read_all(tmp_path / "run")}) == 1
    call(*train, "schedule.max_epochs=3", "hydra.run.dir=whole", cwd=tmp_path)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_an_evaluation_is_neither_repeated_nor_made_in_the_folder_of_a_training(copied):
    evaluate = ["dsn-evaluate", "test.random_draws=2", "test.bootstrap=0", "test.figures=false"]
    checkpoint = "baseline=run/checkpoints/last.ckpt"
    done = call(*evaluate, checkpoint, "hydra.run.dir=run", cwd=copied, expect=2)
    assert "hydra.run.dir=run: already holds a run (finished)" in done.stderr
    (copied / "evaluated").mkdir()
    (copied / "evaluated" / "notes.txt").write_text("of somebody else")
    call(*evaluate, checkpoint, "hydra.run.dir=evaluated", cwd=copied)
    before = content(copied / "evaluated")
    done = call(*evaluate, checkpoint, "hydra.run.dir=evaluated", cwd=copied, expect=2)
    assert "hydra.run.dir=evaluated: already holds a run (finished); a new one needs another folder" in done.stderr
    assert content(copied / "evaluated") == before
    call(*evaluate, checkpoint, "hydra.run.dir=evaluated", "overwrite=true", "test.N=1", cwd=copied)
    assert content(copied / "evaluated.1") == before
    assert {row["N"] for row in json.loads((copied / "evaluated" / "results.json").read_text())} == {1}


def test_a_folder_without_results_is_used(train, tmp_path):
    """Empty, with files of others, or of a start that a wrong setting ended."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("of somebody else")
    done = call(*train, "schedule.max_epochs=1", "weights=missing.pt", "hydra.run.dir=run", cwd=tmp_path, expect=2)
    assert "missing.pt" in done.stderr
    call(*train, "schedule.max_epochs=1", "hydra.run.dir=run", cwd=tmp_path)
    assert (tmp_path / "run" / "notes.txt").is_file()
    assert len({found.run.run_id for found in read_all(tmp_path / "run")}) == 2


def test_overwrite_does_not_move_the_current_folder(train, copied):
    done = call(*train, "hydra.run.dir=.", "overwrite=true", cwd=copied / "run", expect=2)
    assert "contains the current folder" in done.stderr


def test_overwrite_is_true_or_false(train, tmp_path):
    done = call(*train, "overwrite=1", cwd=tmp_path, expect=2)
    assert "overwrite=1: must be true or false" in done.stderr


def test_overwrite_moves_a_sweep_aside(needle_root, small_sweep, tmp_path):
    shutil.copytree(small_sweep, tmp_path / "sweep")
    arguments = ["dsn-train", "-m", f"dataset.root={needle_root}", *TINY, "schedule.max_epochs=1", "seed=3"]
    done = call(*arguments, "hydra.sweep.dir=sweep", cwd=tmp_path, expect=2)
    assert "sweep.resume=sweep continues it" in done.stderr
    call(*arguments, "hydra.sweep.dir=sweep", "overwrite=true", cwd=tmp_path)
    assert content(tmp_path / "sweep.1") == content(small_sweep)
    assert [path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()] == ["0"]
