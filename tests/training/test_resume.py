"""A run that was killed and resumed ends exactly as one that never stopped."""

import json
import os
import random
import re
import shutil
import signal
import time
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from conftest import MeanClassifier
from dsn_lightning.datasets.needle import Needle
from dsn_lightning.training.checkpoints import LastCheckpoint
from helpers.faults import descendants
from helpers.processes import call, start
from helpers.trained_runs import assert_same, assert_same_run, epochs_done, metrics_of, state_of, warnings_of

SMALL = [
    "schedule.max_epochs=4", "schedule.batch_size=2", "M=2", "N=2", "trainer.check_val_every_n_epoch=2",
    "algorithm.warmup_epochs=1", "test.enabled=false", "trainer.accelerator=cpu", "checkpoint.every_n_batches=1",
    "schedule.accumulate=2", "dataset.num_train=11", "dataset.num_val=6", "dataset.num_test=6",
]  # fmt: skip


@pytest.fixture(scope="module")
def eleven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A needle set whose epochs are six batches, the last of one video, in three groups."""
    root = tmp_path_factory.mktemp("eleven")
    Needle(str(root), num_train=11, num_val=6, num_test=6).prepare()
    return root


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def never_stopped(request, eleven: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run and the arguments that gave it."""
    root = tmp_path_factory.mktemp("whole")
    arguments = [f"dataset.root={eleven}", *SMALL, f"trainer.devices={request.param}", "hydra.run.dir=run"]
    call("dsn-train", *arguments, cwd=root)
    return root / "run", arguments


def test_metrics_have_one_row_an_epoch(never_stopped):
    rows = metrics_of(never_stopped[0])
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert [bool(row["val/top1"]) for row in rows] == [False, True, False, True]
    assert [bool(row["train/policy_entropy"]) for row in rows] == [False, True, True, True]
    assert all(row["train/classifier_loss"] for row in rows)


def test_warnings_are_kept_in_the_runs_files(never_stopped):
    *_, policy, classifier = warnings_of(never_stopped[0])
    assert policy["epoch"] == classifier["epoch"] == 4
    assert "the policy is still uniform after the last epoch" in policy["text"]
    assert "the classifier has not learned: its loss in epoch 4" in classifier["text"]


inside_an_epoch = []


MOMENTS = [*range(2), *(pytest.param(moment, marks=pytest.mark.slow) for moment in range(2, 10))]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_and_resumed_run_equals_one_never_stopped(moment, never_stopped, tmp_path):
    whole, arguments = never_stopped
    rng = random.Random(moment)
    run = tmp_path / "run"
    process = start("dsn-train", *arguments, cwd=tmp_path)
    epochs = rng.randrange(4)
    while process.is_alive() and epochs_done(run) < epochs:
        time.sleep(0.002)
    last = run / "checkpoints" / "last.ckpt"
    wait_for(last, process)
    for _ in range(rng.randrange(3)):  # checkpoints that follow
        written = last.stat().st_mtime_ns
        while process.is_alive() and last.stat().st_mtime_ns == written:
            time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.1))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    progress = state_of(run)["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    inside_an_epoch.append(not progress["is_last_batch"])
    call("dsn-train", "resume=run", cwd=tmp_path)
    assert_same_run(run, whole)
    assert list(run.rglob("*.partial")) == []


def test_some_of_those_were_killed_inside_an_epoch():
    if not inside_an_epoch:
        pytest.skip("none was killed in this session")
    assert sum(inside_an_epoch) >= len(inside_an_epoch) / 4


def test_killed_before_its_first_checkpoint(never_stopped, tmp_path):
    whole, arguments = never_stopped
    process = start("dsn-train", *arguments, cwd=tmp_path)
    wait_for(tmp_path / "run" / "environment.json", process)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    call("dsn-train", "resume=run", cwd=tmp_path)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"])
def test_a_stopped_training_saves_first(sent, code, never_stopped, tmp_path):
    """With no other checkpoint inside an epoch."""
    whole, arguments = never_stopped
    arguments = [a for a in arguments if not a.startswith("checkpoint.")]
    if sent == signal.SIGINT:  # which a terminal sends to the loader's processes, too
        arguments = [*arguments, "num_workers=1"]
    run = tmp_path / "run"
    for _ in range(3):  # on a busy machine a run may end before the signal
        shutil.rmtree(run, ignore_errors=True)
        process = start("dsn-train", *arguments, cwd=tmp_path)
        while process.is_alive() and epochs_done(run) < 1:
            time.sleep(0.002)
        sent_at = time.time()
        assert process.pid is not None
        for pid in [*(descendants(process.pid) if sent == signal.SIGINT else []), process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, sent)
        process.join()
        if process.exitcode:
            break
    assert process.exitcode == code
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert re.search("stopped and saved after [1234] of 4 epochs; resume=", (tmp_path / "err").read_text())
    assert (run / "checkpoints" / "last.ckpt").stat().st_mtime > sent_at
    assert json.loads((run / "status.json").read_text())["state"] == "stopped"
    call("dsn-train", "resume=run", cwd=tmp_path)
    assert_same_run(run, whole)


def test_the_first_signal_counts_even_if_stderr_is_closed():
    """As in `dsn-train 2>&1 | tee log`: Ctrl-C also ends tee. A sweep sends SIGTERM after it."""
    saving, stderr, handler = LastCheckpoint(Path("last.ckpt")), os.dup(2), signal.getsignal(signal.SIGINT)
    nobody, pipe = os.pipe()
    os.close(nobody)
    try:
        os.dup2(pipe, 2)
        saving._on_signal(signal.SIGINT, None)
    finally:
        os.dup2(stderr, 2)
        signal.signal(signal.SIGINT, handler)
        os.close(pipe)
        os.close(stderr)
    saving._on_signal(signal.SIGTERM, None)
    assert saving.exit_code == 130


def test_a_second_ctrl_c_does_not_wait_for_the_step(eleven, tmp_path):
    arguments = [f"dataset.root={eleven}", *SMALL, "~backbone.network",
                 "+backbone.network={_target_: test_resume.Endless}"]  # fmt: skip
    process = start("dsn-train", *arguments, "hydra.run.dir=run", cwd=tmp_path)
    try:
        wait_for(tmp_path / "in_a_step", process)
        os.kill(process.pid, signal.SIGINT)
        process.join(3)
        assert process.is_alive()
        assert "Ctrl-C again stops at once" in (tmp_path / "err").read_text()
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
        assert process.exitcode == 130
    finally:
        process.kill()
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "stopped"


class Endless(MeanClassifier):
    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        if self.training:
            Path("in_a_step").touch()
            time.sleep(1000)
        return super().forward(clips)


def test_max_time_stops_and_evaluates(never_stopped, tmp_path):
    _, arguments = never_stopped
    arguments = [a for a in arguments if not a.startswith(("checkpoint.", "test.", "schedule.max_epochs"))]
    done = call("dsn-train", *arguments, "schedule.max_epochs=2000", "trainer.max_time=00:00:00:02", cwd=tmp_path)
    run = tmp_path / "run"
    assert "stopped and saved after" in done.stderr
    assert 0 < state_of(run)["epoch"] < 1000
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    assert (run / "results.json").is_file()


def wait_for(file: Path, process: BaseProcess) -> None:
    while process.is_alive() and not file.is_file():
        time.sleep(0.002)


def test_dropout_is_resumed_too(eleven, tmp_path):
    """Networks that use torch's global random stream are seeded for each batch."""
    arguments = [f"dataset.root={eleven}", *SMALL, "~backbone.network",
                 "+backbone.network={_target_: test_resume.WithDropout}"]  # fmt: skip
    call("dsn-train", *arguments, "hydra.run.dir=whole", cwd=tmp_path)
    process = start("dsn-train", *arguments, "hydra.run.dir=run", cwd=tmp_path)
    while process.is_alive() and epochs_done(tmp_path / "run") < 2:
        time.sleep(0.002)
    process.kill()
    process.join()
    call("dsn-train", "resume=run", "trust=[test_resume]", cwd=tmp_path)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    for name in ("last", "previous"):
        (tmp_path / "run" / "checkpoints" / f"{name}.ckpt").write_bytes(b"half a checkpoint")
    done = call("dsn-train", "resume=run", "trust=[test_resume]", "progress=false", cwd=tmp_path, expect=2)
    assert "last.ckpt: cannot be read as weights" in done.stderr


class WithDropout(MeanClassifier):
    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.dropout(clips.mean((2, 3, 4)), 0.5, self.training))


def test_resuming_a_finished_run_changes_nothing(never_stopped):
    run, _ = never_stopped
    before = state_of(run)
    call("dsn-train", f"resume={run}", cwd=run)
    assert_same(state_of(run)["state_dict"], before["state_dict"])


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
    arguments = [a.replace("RUN", str(never_stopped[0])) for a in arguments]
    done = call("dsn-train", *arguments, cwd=tmp_path, expect=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
