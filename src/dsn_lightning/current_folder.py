"""Keeps PyTorch from loading a library from the current folder, which may hold files of strangers.

libcusparseLt, of PyTorch's CUDA builds, looks for libcuda.so.1 in the current folder when it is loaded, as its search
path (RUNPATH) ends in an empty entry. It finds a file there on machines without an NVIDIA driver.
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
