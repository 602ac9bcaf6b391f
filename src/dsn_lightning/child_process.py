"""How workers are started, and what a process of `multiprocessing` does about the one that started it."""

import multiprocessing
import os
from multiprocessing import context
from multiprocessing.connection import wait
from threading import Thread

THREAD = "thread"
"""Stands among start methods for a thread in place of a process."""

START_METHODS = (*multiprocessing.get_all_start_methods(), THREAD)


class _SpawnedWorker(context.SpawnProcess):
    """Imports this package before the modules of what it runs, as the first thing that it unpickles."""


class _ForkServerWorker(context.ForkServerProcess):
    """Likewise."""


class _SpawnContext(context.SpawnContext):
    Process = _SpawnedWorker


class _ForkServerContext(context.ForkServerContext):
    Process = _ForkServerWorker


def worker_context(start_method: str | None) -> context.BaseContext | None:
    """Return the context of a start method, for PyTorch's loaders; None leaves it to PyTorch.

    A new process looks for libraries as this package lets it, although it runs PyTorch's function.
    """
    ours: dict[str | None, context.BaseContext] = {"spawn": _SpawnContext(), "forkserver": _ForkServerContext()}
    return ours.get(start_method) or (start_method and multiprocessing.get_context(start_method)) or None


def end_with_parent() -> None:
    """Let this process end when its parent does, for whatever reason; at once if the parent has ended already."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this process was not started through multiprocessing"

    def end(sentinel: int = parent.sentinel) -> None:
        wait([sentinel])
        os._exit(1)

    Thread(target=end, daemon=True).start()
