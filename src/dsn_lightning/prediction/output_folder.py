"""The folder of a prediction: lines that are added one by one, so that a killed call goes on where it stopped."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import open_bounded, parse_json, read_bounded, refuse_link, write_atomically, write_json
from dsn_lightning.prediction.answer import Prediction
from dsn_lightning.prediction.answer_parts import AnswerParts
from dsn_lightning.prediction.line_file import NO_LIMIT, add_line, cut_unfinished_line

FORMAT = 1
"""Version of ``predict.json`` and of the lines."""

PICTURES, THUMBNAILS, OVERLAYS, TIME_LINES = "pictures", "thumbnails", "overlays", "time_lines"
"""Folders of what is drawn of the answers."""

PARTS, SHARDS = "parts", "shards"
"""Folders of answers of several processes: lines that are merged at the end, and Parquet files."""


@dataclass(frozen=True)
class OutputFolder:
    """Where a prediction goes: ``predict.json`` (its settings), ``predictions.jsonl`` and what is drawn of them."""

    path: Path

    @property
    def lines(self) -> Path:
        """One line of JSON for each video."""
        return self.path / "predictions.jsonl"

    @property
    def settings(self) -> Path:
        """The settings that the answers depend on."""
        return self.path / "predict.json"

    @property
    def unfinished(self) -> Path:
        """The engine whose answers are not merged yet; it is missing where all answers are in `lines`."""
        return self.path / ".unfinished"

    @property
    def parts(self) -> Path:
        """The lines of several processes before they are merged."""
        return self.path / PARTS

    @property
    def shards(self) -> Path:
        """Answers of Ray's actors, as Parquet files."""
        return self.path / SHARDS

    @property
    def page(self) -> Path:
        """The page that shows all answers."""
        return self.path / "index.html"

    def drawing(self, kind: str, number: int, video: str, extension: str) -> Path:
        """Return where a drawing of an answer goes.

        Args:
            kind: the folder, such as `PICTURES`.
            number: of the answer's line, from 1, which keeps equal names apart.
            video: the path as it was given.
            extension: of the file, with its dot.
        """
        stem = re.sub(r"[^\w.-]+", "_", printable(Path(video).stem))[:80]
        return self.path / kind / f"{number:05d}_{stem}{extension}"

    def create(self) -> None:
        """Create the folder.

        Raises:
            UsageError: it cannot be created.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"output={self.path}: {error.strerror}") from None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the folder for this process, and create it.

        Raises:
            UsageError: it cannot be created, another process holds it, or a file or folder to write to is a link.
        """
        self.create()
        try:
            for name in (".lock", self.lines.name, PICTURES, THUMBNAILS, OVERLAYS, TIME_LINES, PARTS, SHARDS):
                refuse_link(self.path / name)
            lock = FileLock(self.path / ".lock")
            lock.acquire(timeout=3)  # a process that was just killed may take a moment to end
        except Timeout:
            raise UsageError(f"output={self.path}: another process is working in this folder") from None
        except OSError as error:
            raise UsageError(f"output={self.path}: {error.strerror}") from None
        try:
            yield
        finally:
            lock.release()

    def begin(self, settings: Mapping[str, Any], *, engine: str) -> None:
        """Write the settings, or check that those of an earlier call are the same.

        Raises:
            UsageError: the folder holds answers that were made with other settings, or those that another engine has
                not merged.
        """
        content = {"format": FORMAT, **settings}
        before = self.unfinished_engine()
        if before not in (None, engine):
            raise UsageError(
                f"output={self.path}: a call with engine={before} has not ended; go on with that engine, or use "
                "another folder"
            )
        if before is None and not self.lines.exists():
            write_json(self.settings, content)
            return
        self._check_settings(content)

    def unfinished_engine(self) -> str | None:
        """Return the engine whose answers are not merged yet, if any."""
        try:
            return read_bounded(self.unfinished).decode(errors="replace").strip()
        except FileNotFoundError:
            return None

    def mark_unfinished(self, engine: str) -> None:
        """Note that an engine has answers that are not merged yet."""
        write_atomically(self.unfinished, engine)

    def _check_settings(self, content: Mapping[str, Any]) -> None:
        try:
            before = parse_json(read_bounded(self.settings))
        except (OSError, ValueError):
            before = None
        if not isinstance(before, dict):
            raise UsageError(
                f"output={self.path}: has answers but no readable {self.settings.name}; use another folder"
            )
        differing = sorted(key for key in {*content, *before} if before.get(key) != content.get(key))
        if differing:
            key = differing[0]
            raise UsageError(
                f"output={self.path}: holds answers for {key}={printable(str(before.get(key)))}, not "
                f"{printable(str(content.get(key)))}; use another folder"
            )

    def done(self) -> set[str]:
        """Return the videos that have an answer; half a line at the end, of a killed call, is removed.

        Raises:
            UsageError: another line is not an answer.
        """
        if self.lines.exists():
            cut_unfinished_line(self.lines)
        return {answer.video for answer in self.answers()}

    def answers(self) -> Iterator[Prediction]:
        """Yield the answers one by one, so that a million of them need no memory.

        Raises:
            UsageError: a line is not an answer.
        """
        for _, answer in self.places():
            yield answer

    def places(self) -> Iterator[tuple[int, Prediction]]:
        """Yield the answers with the byte at which the line of each begins.

        Raises:
            UsageError: a line is not an answer.
        """
        if not self.lines.exists():
            return
        start = 0
        with open_bounded(self.lines, NO_LIMIT) as file:
            for number, line in enumerate(file, start=1):
                try:
                    answer = Prediction.from_json(parse_json(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise UsageError(f"{self.lines}, line {number}: not an answer of dsn-predict ({error})") from None
                yield start, answer
                start += len(line)

    def answer_at(self, start: int) -> Prediction:
        """Return the answer whose line begins at a byte that `places` has given."""
        with open_bounded(self.lines, NO_LIMIT) as file:
            file.seek(start)
            return Prediction.from_json(parse_json(file.readline()))

    def add(self, answer: Prediction) -> None:
        """Add a line; when this returns, it is on the disk."""
        add_line(self.lines, answer)

    def merge(self, order: Iterable[str], parts: AnswerParts) -> None:
        """Add the lines of parts: first those of the videos in ``order``, each in its place there, then all others.

        A call that is killed meanwhile can be repeated.
        """
        done, places = self.done(), parts.index()
        with open(self.lines, "ab") as file:
            for video in dict.fromkeys([*order, *places]):
                if video in places and video not in done:
                    file.write(parts.line(places[video]))
            file.flush()
            os.fsync(file.fileno())
        parts.close()
        self.unfinished.unlink(missing_ok=True)
