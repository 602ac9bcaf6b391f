"""How workers are started, and what a process of `multiprocessing` does about the one that started it."""

import multiprocessing
import os
from multiprocessing.connection import wait
from threading import Thread

THREAD = "thread"
"""Stands among start methods for a thread in place of a process."""

START_METHODS = (*multiprocessing.get_all_start_methods(), THREAD)


def end_with_parent() -> None:
    """Let this process end when its parent does, for whatever reason; at once if the parent has ended already."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this process was not started through multiprocessing"

    def end(sentinel: int = parent.sentinel) -> None:
        wait([sentinel])
        os._exit(1)

    Thread(target=end, daemon=True).start()
