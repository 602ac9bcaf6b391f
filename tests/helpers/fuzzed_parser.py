"""What the fuzz tests read: a file, how its valid content is made, and what reads it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Parser:
    """A file, how its valid content is made, and what reads it."""

    file: str  # relative to the folder that ``write`` fills
    write: Callable[[Path], object]
    read: Callable[[Path], object]
    share: int = 4  # of the inputs, relative to the other parsers
    around: Callable[[], AbstractContextManager[object]] = nullcontext  # what must run while it is read
