"""Importing PyTorch and Lightning without the seconds that the search for garbage takes in them."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Look for no garbage during imports, and later in nothing that exists after them.

    Modules are a million objects that stay until the process ends; each search through them takes 0.3 s. The end of the
    process finds them as usual.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)
        if was_enabled:
            gc.enable()
