"""Reads archives of arrays (``.npz``) within limits: no Python objects, and memory in proportion to the file."""

import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.files import UnreadableFileError, open_bounded

_MAX_BYTES = 2**34  # of all arrays of an archive
_ALWAYS_ALLOWED = 2**28  # bytes that any archive may expand to; beyond these, _MAX_EXPANSION counts
_MAX_EXPANSION = 64  # logits hardly compress; a bomb reaches 1000


@contextmanager
def open_arrays(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Open an ``.npz`` file; its arrays are read when they are asked for, and none holds Python objects.

    Raises:
        UnreadableFileError: also inside the block: the file is damaged, an array is missing, or they expand to more
            than a file of this size can hold.
        FileNotFoundError: the file does not exist.
    """
    with open_bounded(path, _MAX_BYTES) as file:
        try:
            archive = zipfile.ZipFile(file)
        except Exception as error:  # damaged directories raise all kinds of errors
            raise UnreadableFileError(path, f"is damaged, or no archive of arrays ({error})") from error
        with archive:
            yield _Arrays(path, archive, os.fstat(file.fileno()).st_size)


class _Arrays(Mapping[str, NDArray[Any]]):
    """The arrays of an archive by name."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, size: int) -> None:
        self.path, self.archive = path, archive
        expanded = sum(member.file_size for member in archive.infolist())
        if expanded > min(_MAX_BYTES, max(_ALWAYS_ALLOWED, _MAX_EXPANSION * size)):
            raise UnreadableFileError(path, f"its {size / 2**20:.3g} MiB expand to {expanded / 2**30:.3g} GiB")

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            member = self.archive.getinfo(f"{name}.npy")
        except KeyError:
            raise UnreadableFileError(self.path, f"no array {name}") from None
        try:
            with self.archive.open(member) as file:
                self._check_header(name, member)
                array = np.asarray(np.lib.format.read_array(file, allow_pickle=False))
            if array.dtype.kind == "U":
                array.tolist()  # raises if there are no such characters
            return array
        except UnreadableFileError:
            raise
        except Exception as error:  # damaged headers and streams raise all kinds of errors
            raise UnreadableFileError(self.path, f"array {name} is damaged ({error})") from error

    def _check_header(self, name: str, member: zipfile.ZipInfo) -> None:
        """Raise if the array's header announces another size than the archive holds: NumPy would allocate it."""
        with self.archive.open(member) as file:
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, kind = read[np.lib.format.read_magic(file)](file)
            announced = math.prod(shape) * kind.itemsize
            if announced != member.file_size - file.tell():
                raise UnreadableFileError(self.path, f"array {name} is damaged: its header announces another size")

    def __iter__(self) -> Iterator[str]:
        return (name.removesuffix(".npy") for name in self.archive.namelist())

    def __len__(self) -> int:
        return len(self.archive.namelist())
