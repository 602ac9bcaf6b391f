"""Reading foreign files within limits, and writing files atomically and durably.

A file of a run or a data set may come from anybody. Reading it takes bounded time and memory whatever it contains:
only regular files are read, up to a limit, and nesting is limited.
"""

import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

from dsn_lightning.errors import UsageError

MAX_BYTES = 2**25
"""Size of the largest text file of a run that is read."""

MAX_DEPTH = 64
"""Deepest nesting of JSON and YAML that is accepted."""

_PARTIAL_NAME = re.compile(r"\.(.+\.\d+(\.\w+)?|.+\.partial)")  # of `replaced`, and of a checkpoint


_folders: ContextVar[Sequence[Path]] = ContextVar("folders", default=())


class UnreadableFileError(UsageError):
    """A file that cannot be read; the message names the file and the reason.

    Attributes:
        path: the file.
        reason: what is wrong.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:  # workers send it to other processes
        return UnreadableFileError, (self.path, self.reason)


def user_path(given: str | os.PathLike[str]) -> Path:
    """Return the path that somebody has given, with ``~`` and ``~USER`` expanded; an unknown user's stays as it is.

    >>> user_path("~nobody_of_this_name/videos")
    PosixPath('~nobody_of_this_name/videos')

    Raises:
        UsageError: it is no path, or not `is_text`.
    """
    if not isinstance(given, str | os.PathLike) or not is_text(str(given)):
        raise UsageError(f"expected a path, got {given!r:.80}")
    return Path(os.path.expanduser(given))


def is_text(text: str) -> bool:
    """Whether a text could be part of a path: without null characters, and without surrogates that stand for no byte.

    >>> is_text("a/b"), is_text("a\\0b"), is_text("\\ud800"), is_text("caf\\udce9")
    (True, False, False, True)
    """
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")  # whatever the language of the system is
    except UnicodeEncodeError:
        return False


@contextmanager
def links_stay_inside(folders: Sequence[Path]) -> Iterator[None]:
    """Refuse, in this block and thread, to read files below ``folders`` through links that lead out of all of them.

    The folders themselves may be links.
    """
    token = _folders.set([folder.absolute() for folder in folders])
    try:
        yield
    finally:
        _folders.reset(token)


def leads_out(path: Path) -> bool:
    """Return whether `links_stay_inside` refuses to read this file or folder."""
    folders, place = _folders.get(), path.absolute()
    if not any(place.is_relative_to(folder) for folder in folders):
        return False
    real = os.path.realpath(place)  # also of a loop
    return not any(Path(real).is_relative_to(os.path.realpath(folder)) for folder in folders)


@contextmanager
def open_bounded(path: Path, limit: int) -> Iterator[BinaryIO]:
    """Open a regular file of at most ``limit`` bytes. Links are followed; a FIFO or a device is closed at once.

    Raises:
        FileNotFoundError: the file does not exist.
        UnreadableFileError: it is no regular file, too large, `leads_out`, or the system refuses to read it.
    """
    if leads_out(path):
        raise UnreadableFileError(path, "a link out of the given folders")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO without a writer would block
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise UnreadableFileError(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # a name that no file can have
        raise UnreadableFileError(path, f"cannot be read ({error})") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableFileError(path, "not a regular file")
        if status.st_size > limit:
            raise UnreadableFileError(path, f"larger than {limit / 2**20:.4g} MiB")
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    except OSError as error:
        raise UnreadableFileError(path, f"cannot be read ({error.strerror})") from error
    finally:
        os.close(descriptor)


def read_bounded(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes; for the errors see `open_bounded`."""
    with open_bounded(path, limit) as file:
        content = file.read(limit + 1)  # some files of /proc announce no size
    if len(content) > limit:
        raise UnreadableFileError(path, f"larger than {limit / 2**20:.4g} MiB")
    return content


def read_tail(path: Path, limit: int) -> bytes:
    """Return the last ``limit`` bytes of a regular file of any size; for the errors see `open_bounded`."""
    with open_bounded(path, sys.maxsize) as file:
        file.seek(-min(limit, os.fstat(file.fileno()).st_size), os.SEEK_END)
        return file.read(limit)


def refuse_link(path: Path) -> None:
    """Refuse a file or folder that is a link, before something is written there: it would go to where the link leads.

    Raises:
        UnreadableFileError: it is a link.
    """
    if path.is_symlink():
        raise UnreadableFileError(path, "is a link; expected a file of this folder; remove the link")


def is_inside(relative: str) -> bool:
    """Whether a path in a file stays in the folder that it is relative to; links that the folder holds may lead out.

    >>> [is_inside(path) for path in ("a/b.mp4", "a/../b", "../b", "/b", "a/../../b")]
    [True, True, False, False, False]
    """
    if not is_text(relative):
        return False
    normal = os.path.normpath(relative)
    return not os.path.isabs(normal) and normal.split(os.sep)[0] != os.pardir


def parse_json(text: str | bytes) -> Any:
    """Return the content of a JSON text.

    >>> parse_json('{"M": [1, 2]}')
    {'M': [1, 2]}

    Raises:
        ValueError: not JSON, nested deeper than `MAX_DEPTH`, or a number that 64 bits do not hold.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    check_nesting(content)
    return content


def check_nesting(content: Any) -> None:
    """Raise ValueError if nested lists and mappings are deeper than `MAX_DEPTH` or hold an integer beyond 64 bits."""
    level, depth = [content], 0
    while level:
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        inside: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                inside += value.values()
            elif isinstance(value, list | tuple | set):
                inside += value
            elif isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ValueError("an integer beyond 64 bits")
        level, depth = inside, depth + 1


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` so that a reader sees either the old file or the whole new one."""
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield the name of a temporary file beside ``path``; it replaces ``path``, or is removed after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        yield partial
        replace_durably(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process left in ``folder`` or in its subfolders."""
    for file in folder.glob("**/.*"):
        if _PARTIAL_NAME.fullmatch(file.name):
            file.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON, atomically."""
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def replace_durably(partial: Path, path: Path) -> None:
    """Rename ``partial`` to ``path``; even after a power failure that is either the old file or the whole new one."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot
            os.fsync(folder)
    finally:
        os.close(folder)


def keep_as(path: Path, other: Path) -> None:
    """Let ``other`` be the file that ``path`` is, with a hard link: nothing is copied.

    On a file system without hard links ``path`` is renamed.
    """
    link = other.with_name(f".{other.name}.{os.getpid()}")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:
        path.replace(other)
        return
    link.replace(other)
    link.unlink(missing_ok=True)  # rename leaves it where both are the same file already
