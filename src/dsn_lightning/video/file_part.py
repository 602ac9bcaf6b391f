"""Parts of a file that are read like files of their own: the videos in a tar file."""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FilePart:
    """A range of bytes of a file that is a file of its own.

    Attributes:
        file: the file that contains the part.
        start: its first byte.
        size: its number of bytes.
    """

    file: Path
    start: int
    size: int

    @classmethod
    def whole(cls, file: Path) -> "FilePart":
        """Return all bytes that a file has now."""
        return cls(file, 0, file.stat().st_size)

    @contextmanager
    def open(self) -> Iterator["PartStream"]:
        """Open the part; OSError if that fails, or if the file is not a regular one."""
        with open(self.file, "rb", buffering=0, opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "Not a regular file", str(self.file))
            yield PartStream(file.fileno(), self)


def _without_waiting(file: str, flags: int) -> int:
    """Open a file as `open` does, but a FIFO without waiting for its writer."""
    return os.open(file, flags | os.O_NONBLOCK)


class PartStream(io.RawIOBase):
    """Reads a part through a descriptor of its file; it never returns bytes beyond the part."""

    def __init__(self, descriptor: int, part: FilePart) -> None:
        self._descriptor, self._part, self._position = descriptor, part, 0

    def bytes_at(self, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` of the part; fewer if the part or the file ends."""
        start = min(max(start, 0), self._part.size)
        return os.pread(self._descriptor, min(max(length, 0), self._part.size - start), self._part.start + start)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the part."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position in the part, or beyond its end, where nothing is read."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._part.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes of the part, fewer at its end; all that are left if negative."""
        content = self.bytes_at(self._position, self._part.size if size < 0 else size)
        self._position += len(content)
        return content
