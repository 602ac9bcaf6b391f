"""Loaders: a dead process is noticed long before the loader times out, no process outlives the training; threads."""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import Dataset
from torch.utils.data._utils import worker as worker_module

from dsn_lightning.data.batches import ClipLoader
from dsn_lightning.errors import UsageError


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


class Numbers(Dataset):
    """Its items are their index; some take longer, one is an error, one never ends."""

    def __init__(self, *, error: int = -1, stuck: int = -1) -> None:
        self.error, self.stuck, self.threads = error, stuck, set[int]()

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int | UsageError:
        self.threads.add(threading.get_ident())
        if index == self.stuck:
            time.sleep(3)
        time.sleep(0.02 * (index % 3))
        return UsageError("an item is missing") if index == self.error else index


def batch_of(items: list[int | UsageError]) -> list[int] | UsageError:
    return next((item for item in items if isinstance(item, UsageError)), items)


def in_threads(numbers: Numbers, batch_size: int | None, **options: Any) -> ClipLoader:
    joined = {} if batch_size is None else {"collate_fn": batch_of}
    return ClipLoader(numbers, batch_size=batch_size, num_workers=3, start_workers="thread", **joined, **options)


@pytest.mark.parametrize("batch_size", [None, 1, 5])
def test_threads_give_the_batches_of_this_process_in_their_order(batch_size):
    numbers = Numbers()
    loader = in_threads(numbers, batch_size, persistent_workers=True)
    expected = list(ClipLoader(Numbers(), batch_size=batch_size, **({"collate_fn": batch_of} if batch_size else {})))
    assert list(loader) == expected
    assert list(loader) == expected  # a second epoch
    assert len(loader) == len(expected)
    assert len(numbers.threads) >= 3
    assert threading.get_ident() not in numbers.threads


def test_an_error_in_a_thread_ends_the_loop():
    batches = iter(in_threads(Numbers(error=4), 2))
    assert [next(batches), next(batches)] == [[0, 1], [2, 3]]
    with pytest.raises(UsageError, match="an item is missing"):
        next(batches)


def test_a_thread_that_hangs_is_reported_and_does_not_hold_the_program():
    batches = iter(in_threads(Numbers(stuck=2), 2, timeout=0.5))
    assert next(batches) == [0, 1]
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 0\.5 seconds"):
        next(batches)
    assert time.monotonic() - began < 2


def test_a_loop_that_is_left_reads_no_further():
    numbers = Numbers()
    batches = iter(in_threads(numbers, 1))
    next(batches)
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("clip ")]
    assert ours
    batches.close()
    for thread in ours:
        thread.join(5)
    assert not any(thread.is_alive() for thread in ours)
