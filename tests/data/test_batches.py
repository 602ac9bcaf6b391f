"""Loader processes: a dead one is noticed long before the loader times out, and none outlives the training."""

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from torch.utils.data import Dataset
from torch.utils.data._utils import worker as worker_module

from dsn_lightning.data.batches import ClipLoader


class Slow(Dataset):
    """Its second item takes for ever."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if index:
            time.sleep(1000)
        return os.getpid()


def test_a_dead_worker_is_noticed_before_the_loader_times_out():
    """Also where PyTorch's handler of SIGCHLD does not run, as in a thread."""
    loader = ClipLoader(Slow(), batch_size=None, num_workers=1, timeout=500)
    batches = iter(loader)
    worker = int(next(batches))
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    began = time.monotonic()
    try:
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="exited unexpectedly"):
            next(batches)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert time.monotonic() - began < 60


class Endless(Dataset):
    """Its items name the worker's process, and take a while."""

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> int:
        time.sleep(0.05)
        return os.getpid()


def read_until_killed(pipe: Connection) -> None:
    for item in ClipLoader(Endless(), batch_size=None, num_workers=1):
        pipe.send(int(item))


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_worker_ends_with_a_process_that_is_killed_while_the_worker_begins(monkeypatch):
    """PyTorch's worker takes the process that has adopted it for its parent if that one dies early enough."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    monkeypatch.setattr(worker_module, "ManagerWatchdog", Blind)
    process = context.Process(target=read_until_killed, args=(theirs,))
    process.start()
    worker = ours.recv()
    process.kill()
    process.join()
    deadline = time.monotonic() + 30
    while not has_ended(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Blind:
    """PyTorch's watchdog of a worker whose process died before it was made."""

    def is_alive(self) -> bool:
        return True
