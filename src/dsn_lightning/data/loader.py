"""A data loader whose worker processes neither end before the training process nor outlive it."""

import signal
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any

from torch.utils.data import DataLoader

from dsn_lightning.errors import UsageError


class ClipLoader(DataLoader[Any]):
    """A loader whose workers end with this process, although they ignore SIGTERM.

    Workers return errors, which are raised here: an error raised in a worker would arrive as one of torch's.
    """

    def __iter__(self) -> Any:
        # Workers must not receive Ctrl-C of the terminal, from their first moment on; this process receives it later.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT] if self.num_workers else [])
        try:
            iterator = super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        workers = getattr(iterator, "_workers", [])
        if workers:
            Finalize(None, _kill, args=(workers,), exitpriority=10)  # when this process ends, for whatever reason
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


def ignore_signals(_: int) -> None:
    """Ignore signals that may reach all processes of a run; the training process handles them, and saves first."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
