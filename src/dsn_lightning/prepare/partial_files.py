"""Files that replace their targets when complete and on disk, and removal of what killed processes left."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dsn_lightning.files import replace_durably

_PARTIAL = ".partial"


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write. It replaces ``target`` at the end, or is removed after an error."""
    unfinished = target.with_name(f".{target.name}{_PARTIAL}")
    try:
        with open(unfinished, "wb") as file:
            yield file
        replace_durably(unfinished, target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def remove_partial_files(folder: Path) -> None:
    """Remove the files that killed processes left below ``folder``; call it only while no process writes there."""
    for file in folder.rglob(f".*{_PARTIAL}"):
        file.unlink(missing_ok=True)
