"""Loader processes: a dead one is noticed long before the loader times out."""

import os
import signal
import time

import pytest
from torch.utils.data import Dataset

from dsn_lightning.data.batches import ClipLoader, ignore_signals


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
    loader = ClipLoader(Slow(), batch_size=None, num_workers=1, timeout=500, worker_init_fn=ignore_signals)
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
