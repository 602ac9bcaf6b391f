"""Loader processes that neither end before the training process nor outlive it."""

import signal
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any

from torch.utils.data import DataLoader

from dsn_lightning.errors import UsageError


class ClipLoader(DataLoader[Any]):
    """A loader whose processes end with this one, although they outlive SIGTERM.

    What they return as an error is raised here; raised there, it would come as torch's own.
    """

    def __iter__(self) -> Any:
        # a Ctrl-C of the terminal is not for them, from their first moment on; here it comes a little later
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT] if self.num_workers else [])
        try:
            iterator = super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        workers = getattr(iterator, "_workers", [])
        if workers:
            Finalize(None, _kill, args=(workers,), exitpriority=10)  # when this process ends, whatever the reason
        for batch in iterator:
            if isinstance(batch, UsageError):
                if workers:
                    iterator._shutdown_workers()  # type: ignore[attr-defined]
                raise batch
            yield batch


def _kill(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        if worker.is_alive():
            worker.kill()


def outlive_signals(_: int) -> None:
    """Leave to the training process, which saves before it ends, what may reach all of a run's processes."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
