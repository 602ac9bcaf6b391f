"""Batches: the order of the videos, each process's share, and loaders, whose workers end with the training process."""

import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.data._utils.pin_memory import pin_memory

from dsn_lightning.child_process import THREAD, end_with_parent, worker_context
from dsn_lightning.errors import UsageError
from dsn_lightning.stateless_random import stateless_rng

_LOOK_EVERY = 5.0  # seconds


class Draw(NamedTuple):
    """The address of an item: a video in an epoch. Its random numbers depend on nothing else."""

    epoch: int  # of the training; 0 in testing
    video: int  # position in the subset
    counted: bool = True  # False for a video that only fills an empty share of a batch; see `BatchShares`


class EpochOrder(Sampler[Draw]):
    """All videos once, in an order that depends on (seed, epoch) alone; without a seed, that of the data set.

    With ``same_order`` every epoch has the order of the first one.
    """

    def __init__(self, num_videos: int, *, seed: int | None, epoch: int = 0, same_order: bool = False) -> None:
        self.num_videos, self.seed, self.epoch, self.same_order = num_videos, seed, epoch, same_order

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_videos

    def __iter__(self) -> Iterator[Draw]:
        order = np.arange(self.num_videos)
        if self.seed is not None:
            epoch = 0 if self.same_order else self.epoch
            order = stateless_rng(self.seed, epoch, "order").permutation(self.num_videos)
        return iter([Draw(self.epoch, int(i)) for i in order])


class BatchShares(Sampler[list[Draw]]):
    """One process's share of each batch.

    The batches are those of a single process, whatever the number of processes: process r of R takes every R-th video
    of each batch, beginning with the r-th. If a batch has fewer videos than there are processes, those without a video
    also read the batch's first video, marked as not counted, so that all processes make the same number of steps.

    Args:
        sampler: the order of the videos.
        batch_size: videos per batch, over all processes.
        rank, num_processes: r and R.
        skip: batches to leave out of the sampler's current epoch: a resumed run has already been trained on them.

    >>> shares = [BatchShares(EpochOrder(5, seed=None), 4, rank=r, num_processes=2) for r in (0, 1)]
    >>> [[[draw.video for draw in batch if draw.counted] for batch in share] for share in shares]
    [[[0, 2], [4]], [[1, 3], []]]
    """

    def __init__(
        self, sampler: EpochOrder, batch_size: int, *, rank: int = 0, num_processes: int = 1, skip: int = 0
    ) -> None:
        self.sampler, self.batch_size, self.skip = sampler, batch_size, (sampler.epoch, skip)
        self.rank, self.num_processes = rank, num_processes

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        order = list(self.sampler)
        epoch, skip = self.skip
        for first in range(skip if self.sampler.epoch == epoch else 0, len(self)):
            batch = order[first * self.batch_size : (first + 1) * self.batch_size]
            yield batch[self.rank :: self.num_processes] or [batch[0]._replace(counted=False)]


class ClipLoader(DataLoader[Any]):
    """A loader whose workers end with this process, although they ignore SIGTERM, and return errors to raise here.

    Args:
        dataset: addressed by the items of its sampler.
        num_workers: loader processes, or threads of this process; 0 loads without either.
        start_workers: how processes start, one of Python's start methods; None leaves it to PyTorch; `THREAD`:
            ``num_workers`` threads load the items of all batches, also those of one batch, and need no shared memory.
        timeout: seconds after which workers that return nothing count as hung; 0: never.
        options: others of `torch.utils.data.DataLoader`.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        num_workers: int = 0,
        start_workers: str | None = None,
        timeout: float = 0,
        persistent_workers: bool = False,
        **options: Any,
    ) -> None:
        in_threads = start_workers == THREAD
        if num_workers and not in_threads:
            options |= {"multiprocessing_context": worker_context(start_workers)}
            options |= {"timeout": timeout, "worker_init_fn": begin_worker}
            options |= {"num_workers": num_workers, "persistent_workers": persistent_workers}
        super().__init__(dataset, **options)
        self.threads, self.patience = num_workers if in_threads else 0, timeout or None

    def __iter__(self) -> Any:
        for batch in self._of_threads() if self.threads else self._of_processes():
            if isinstance(batch, UsageError):
                raise batch
            yield batch

    def _of_threads(self) -> Iterator[Any]:
        """Yield batches in their order; two are ready, or in work, beside the one that is used."""
        batches = self.batch_sampler
        draws = iter([draw] for draw in self.sampler) if batches is None else iter(batches)
        readers, joiner = ThreadPoolExecutor(self.threads, "clip loader"), ThreadPoolExecutor(1, "clip batches")
        waiting: deque[Future[Any]] = deque()

        def begin(count: int) -> None:
            for draw in islice(draws, count):
                items = [readers.submit(self.dataset.__getitem__, one) for one in draw]
                waiting.append(joiner.submit(self._joined, items))

        try:
            begin(2 if batches is not None else 2 * self.threads)
            while waiting:
                batch = waiting.popleft().result()
                begin(1)
                yield batch
        finally:
            for pool in (readers, joiner):
                pool.shutdown(wait=False, cancel_futures=True)

    def _joined(self, items: Sequence[Future[Any]]) -> Any:
        """Wait for the items of a batch, and return it."""
        if wait(items, self.patience).not_done:
            raise RuntimeError(f"DataLoader timed out after {self.patience:g} seconds")
        results = [item.result() for item in items]
        batch = self.collate_fn(results[0] if self.batch_sampler is None else results)
        return pin_memory(batch) if self.pin_memory and torch.cuda.is_available() else batch

    def _of_processes(self) -> Iterator[Any]:
        # Workers must not receive Ctrl-C of the terminal, from their first moment on; this process receives it later.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT] if self.num_workers else [])
        try:
            iterator = super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        workers = getattr(iterator, "_workers", [])
        if workers:
            _notice_dead_workers(iterator)
            Finalize(None, _kill, args=(workers,), exitpriority=10)  # when this process ends, for whatever reason
        for batch in iterator:
            if isinstance(batch, UsageError) and workers:
                iterator._shutdown_workers()  # type: ignore[attr-defined]
            yield batch


def _notice_dead_workers(iterator: Any) -> None:
    """Let an iterator of PyTorch look for dead workers every few seconds, and not only when it times out."""
    if "_try_get_data" in vars(iterator):  # it is kept from epoch to epoch
        return
    get = iterator._try_get_data  # raises RuntimeError if a worker has died

    def wait_in_parts(timeout: float = _LOOK_EVERY) -> tuple[bool, Any]:
        until = time.monotonic() + timeout
        while True:
            success, batch = get(min(_LOOK_EVERY, max(0.0, until - time.monotonic())))
            if success or time.monotonic() >= until:
                return success, batch

    iterator._try_get_data = wait_in_parts


def _kill(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        if worker.is_alive():
            worker.kill()


def begin_worker(_: int) -> None:
    """Ignore signals that may reach all processes of a run: the training process handles them, and saves first.

    The worker ends with that process, also if it is killed before PyTorch's worker begins to look for it.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
