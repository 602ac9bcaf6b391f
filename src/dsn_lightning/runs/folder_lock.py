"""The lock of a run's or a sweep's folder: the system releases it when the process ends, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dsn_lightning.errors import UsageError

LOCK = ".lock"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process.

    Raises:
        UsageError: another process holds it.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=3)  # a process that was just killed may take a moment to end
    except Timeout:
        raise UsageError(f"{folder}: another process is working in this folder") from None
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process holds ``folder``."""
    if not (folder / LOCK).is_file():  # looking must not create it
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):  # OSError: the lock belongs to another user
        return True
    lock.release()
    return False
