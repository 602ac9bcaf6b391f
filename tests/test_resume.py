"""A run that was killed and resumed ends exactly as one that never stopped."""

import csv
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from conftest import NEEDLE
from dsn_lightning.errors import UsageError
from processes import call, start

SMALL = [
    "schedule.max_epochs=4", "schedule.batch_size=4", "M=2", "N=2", "trainer.check_val_every_n_epoch=2",
    "algorithm.warmup_epochs=1", "test.enabled=false", "trainer.accelerator=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def never_stopped(needle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, *SMALL, "hydra.run.dir=run", cwd=root)
    return root / "run"


def state_of(run: Path) -> dict:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same(a, b, where=""):
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}/{i}")
    else:
        assert a == b, where


def assert_same_run(resumed: Path, whole: Path) -> None:
    ours, theirs = state_of(resumed), state_of(whole)
    for part in ("state_dict", "optimizer_states", "epoch", "global_step"):
        assert_same(ours[part], theirs[part], part)
    assert (resumed / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_metrics_have_one_row_an_epoch(never_stopped):
    rows = list(csv.DictReader((never_stopped / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert [bool(row["val/top1"]) for row in rows] == [False, True, False, True]
    assert [bool(row["train/policy_entropy"]) for row in rows] == [False, True, True, True]
    assert all(row["train/classifier_loss"] for row in rows)


@pytest.mark.parametrize("moment", range(10))
def test_killed_and_resumed_is_as_never_stopped(moment, never_stopped, needle_root, tmp_path):
    rng = random.Random(moment)
    run = tmp_path / "run"
    arguments = (f"dataset.root={needle_root}", *NEEDLE, *SMALL, "hydra.run.dir=run")
    process = start("dsn-train", *arguments, cwd=tmp_path)
    wanted = rng.randrange(4)  # epochs that are to be over
    while process.is_alive() and epochs_done(run) < wanted:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.3))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    if not (run / ".hydra" / "config.yaml").is_file():
        call("dsn-train", *arguments, cwd=tmp_path)  # it had not even begun
    else:
        call("dsn-train", "resume=run", cwd=tmp_path)
    assert_same_run(run, never_stopped)
    assert list(run.rglob("*.partial")) == []


def epochs_done(run: Path) -> int:
    try:
        return int(json.loads((run / "progress.json").read_text())["epoch"])
    except (OSError, json.JSONDecodeError):
        return 0


def test_a_finished_run_stays_as_it_is(never_stopped):
    before = state_of(never_stopped)
    call("dsn-train", f"resume={never_stopped}", cwd=never_stopped)
    assert_same(state_of(never_stopped)["state_dict"], before["state_dict"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resume=nowhere"], "there is no run in this folder"),
        (["resume=RUN", "gamma=1"], "gamma=1: a run is resumed with its own configuration"),
        (["sweep.resume=nowhere"], "there is no sweep in this folder"),
        (["-m", "sweep.jobs=0"], "sweep.jobs=0: must be a whole number"),
    ],
)
def test_bad_resume_gets_one_line(arguments, message, never_stopped, tmp_path):
    arguments = [a.replace("RUN", str(never_stopped)) for a in arguments]
    done = call("dsn-train", *arguments, cwd=tmp_path, expect=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_two_runs_do_not_share_a_folder(tmp_path):
    from dsn_lightning.commands.run import only_run_in

    context = multiprocessing.get_context("forkserver")
    with only_run_in(tmp_path), context.Pool(1) as pool, pytest.raises(UsageError, match="another process"):
        pool.apply(hold, (tmp_path,))


def hold(folder: Path) -> None:
    from dsn_lightning.commands.run import only_run_in

    with only_run_in(folder):
        pass
