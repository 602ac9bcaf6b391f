"""What a process that was started through `multiprocessing` does about the one that started it."""

import multiprocessing
import os
from multiprocessing.connection import wait
from threading import Thread


def end_with_parent() -> None:
    """Let this process end when its parent does, for whatever reason; at once if the parent has ended already."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this process was not started through multiprocessing"

    def end(sentinel: int = parent.sentinel) -> None:
        wait([sentinel])
        os._exit(1)

    Thread(target=end, daemon=True).start()
