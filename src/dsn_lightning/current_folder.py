"""Keeps libraries from being loaded from the current folder, which may hold files of strangers.

libcusparseLt, of PyTorch's CUDA builds, looks for libcuda.so.1 in the current folder when it is loaded, as its search
path (RUNPATH) ends in an empty entry. It finds a file there on machines without an NVIDIA driver. OpenCV adds an empty
entry to LD_LIBRARY_PATH, with which the processes that are started later look there for every library.
"""

import ctypes
import os
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path


def load_cusparselt_elsewhere() -> None:
    """Load libcusparseLt while another folder is the current one; PyTorch then uses the loaded one.

    Without PyTorch, without that library, and where PyTorch has been imported already, nothing happens. A library that
    cannot be loaded is left for PyTorch to report.
    """
    if sys.platform != "linux" or "torch" in sys.modules:
        return
    spec = find_spec("torch")
    for package in (spec and spec.submodule_search_locations) or []:
        for library in Path(package).absolute().parent.glob("nvidia/cusparselt/lib/libcusparseLt.so.*"):
            before = os.open(".", os.O_PATH)  # not a name: the folder may have been removed
            try:
                os.chdir(library.parent)
                with suppress(OSError):
                    ctypes.CDLL(str(library))
            finally:
                os.fchdir(before)
                os.close(before)


def search_no_library_here() -> None:
    """Let the processes that are started from now on look for no library in the folder that is current there."""
    entries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    if absolute := [entry for entry in entries if os.path.isabs(entry)]:
        os.environ["LD_LIBRARY_PATH"] = ":".join(absolute)
    else:
        os.environ.pop("LD_LIBRARY_PATH", None)
