"""Answers of several processes before they are merged: each process adds lines to a file of its own."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dsn_lightning.errors import UsageError
from dsn_lightning.files import open_bounded, parse_json, refuse_link
from dsn_lightning.prediction.answer import Prediction
from dsn_lightning.prediction.line_file import NO_LIMIT, add_line, cut_unfinished_line


class AnswerParts(Protocol):
    """Answers that are stored, but not in ``predictions.jsonl`` yet."""

    def index(self) -> dict[str, Any]:
        """Return where each video's answer is, by path."""

    def line(self, place: Any) -> bytes:
        """Return the line of an answer, with its line break; quick where places are asked for in their order."""

    def close(self) -> None:
        """Remove what is of no use when the lines have been merged."""


@dataclass(frozen=True)
class LineParts:
    """A folder of files with lines, one for each process."""

    folder: Path

    def file(self, rank: int) -> Path:
        """Return the file of a process."""
        return self.folder / f"{rank:05d}.jsonl"

    def begin(self, rank: int) -> None:
        """Create the file of a process, and remove the line that an earlier one did not finish.

        Raises:
            UsageError: the file or the folder is a link.
        """
        refuse_link(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        refuse_link(self.file(rank))
        self.file(rank).touch()
        cut_unfinished_line(self.file(rank))

    def add(self, rank: int, answer: Prediction) -> None:
        """Add a line to the file of a process; when this returns, it is on the disk."""
        add_line(self.file(rank), answer)

    def index(self) -> dict[str, tuple[Path, int]]:
        """Return the file of each video's answer and the byte at which its line begins; half a line counts as none.

        Raises:
            UsageError: a line is not an answer.
        """
        found: dict[str, tuple[Path, int]] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            start = 0
            with open_bounded(path, NO_LIMIT) as file:
                for line in file:
                    if line.endswith(b"\n"):
                        found.setdefault(_video_of(line, path), (path, start))
                    start += len(line)
        return found

    def line(self, place: tuple[Path, int]) -> bytes:
        """Return the line at a place."""
        path, start = place
        with open_bounded(path, NO_LIMIT) as file:
            file.seek(start)
            return file.readline()

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _video_of(line: bytes, path: Path) -> str:
    try:
        return Prediction.from_json(parse_json(line)).video
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not answers of dsn-predict ({error})") from None
