"""Opens stored arrays without reading them into memory."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def open_array(file: Path, *, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return the array in a ``.npy`` file; its values are read when they are used.

    Raises:
        ValueError: the file is damaged, or has another shape, type or memory order.
        OSError: it cannot be read.
    """
    try:
        array = np.load(file, mmap_mode="r")  # maps no more than the file holds
    except OSError:
        raise
    except Exception as error:  # NumPy raises anything on damaged files
        raise ValueError(f"the file is damaged ({type(error).__name__})") from error
    if not isinstance(array, np.ndarray):
        raise ValueError("the file is an archive")
    if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(f"expected {np.dtype(dtype)} {shape} in C order, got {array.dtype} {array.shape}")
    return array
