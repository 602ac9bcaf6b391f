"""Answers as Parquet files, one for each block of videos that an actor was given."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import MAX_BYTES, parse_json, read_bounded, refuse_link, remove_leftovers, replaced
from dsn_lightning.prediction.answer import Prediction
from dsn_lightning.prediction.line_file import answer_line

MOST_ROWS = 32
"""Videos of a block: as many answers may be lost with an actor."""
MOST_ENDS = 3
"""How often a process may end at the same video."""

_FIGURES = ("label", "score", "duration_seconds", "gmacs", "seconds", "error")
_LINE = "line"
_SCHEMA = b"ARROW:schema"  # a key of a file's metadata, in its footer
_FOOTER_END = 8  # bytes behind the footer: its length, and PAR1


@dataclass(frozen=True)
class ParquetShards:
    """A folder of shards, with a row for each video.

    Its columns are ``video``, ``label``, ``score``, ``duration_seconds``, ``gmacs``, ``seconds``, ``error``, and
    ``line``, the line of ``predictions.jsonl``. A shard is named after its videos, so that a block which is done twice,
    because the actor was killed before it could say so, leaves one shard.
    """

    folder: Path

    def file(self, videos: Sequence[str]) -> Path:
        """Return the file for the answers of a block of videos."""
        digest = hashlib.sha256(json.dumps(list(videos)).encode()).hexdigest()
        return self.folder / f"{digest[:24]}.parquet"

    def files(self) -> list[Path]:
        """Return all shards, sorted by name."""
        return sorted(path for path in self.folder.glob("*.parquet") if not path.name.startswith("."))

    def answer(self, videos: Sequence[str], answer: Callable[[str], Prediction]) -> None:
        """Answer for a block of videos, and write its shard unless there is one.

        A video at which the process has ended `MOST_ENDS` times, in earlier calls of this function, gets an error.

        Raises:
            UsageError: the folder is a link.
        """
        if self.file(videos).exists():
            return
        refuse_link(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self._log(videos)
        begun = Counter(read_bounded(log).decode(errors="replace").splitlines()) if log.exists() else Counter()
        answers = []
        with open(log, "a") as file:
            for number, video in enumerate(videos):
                if begun[f"begun {number}"] - begun[f"ended {number}"] >= MOST_ENDS:
                    answers.append(Prediction(video, error=f"the process that read it has ended {MOST_ENDS} times"))
                    continue
                print(f"begun {number}", file=file, flush=True)
                answers.append(answer(video))
                print(f"ended {number}", file=file, flush=True)
        self.write(answers)
        log.unlink()

    def begin(self) -> None:
        """Forget at which videos the processes of an earlier call have ended, and remove what they left half done."""
        for log in self.folder.glob(".*.begun"):
            log.unlink()
        remove_leftovers(self.folder)

    def _log(self, videos: Sequence[str]) -> Path:
        """Return the file that says which videos of a block were begun, and which of these were ended."""
        return self.folder / f".{self.file(videos).stem}.begun"

    def write(self, answers: Sequence[Prediction]) -> None:
        """Write the answers of a block; a reader sees the whole file or none.

        Raises:
            UsageError: the folder is a link.
        """
        import pyarrow as pa
        from pyarrow import parquet

        text, figure = pa.string(), pa.float64()
        types = {"video": text, **dict.fromkeys(_FIGURES, figure), "label": text, "error": text, _LINE: text}
        rows = [_row(answer) for answer in answers]
        table = pa.Table.from_pylist(rows, schema=pa.schema(list(types.items())))
        refuse_link(self.folder)
        with replaced(self.file([answer.video for answer in answers])) as partial:
            parquet.write_table(table, partial, store_schema=False, write_statistics=False)

    def index(self) -> dict[str, tuple[Path, int]]:
        """Return the shard of each video's answer and its row there.

        Raises:
            UsageError: a file is not a shard of answers.
        """
        found: dict[str, tuple[Path, int]] = {}
        for path in self.files():
            for row, line in enumerate(_lines(path)):
                found.setdefault(json.loads(line)["video"], (path, row))
        return found

    def line(self, place: tuple[Path, int]) -> bytes:
        """Return the line at a place."""
        path, row = place
        return _last_lines(path)[row].encode() + b"\n"

    def clear(self) -> None:
        """Remove all shards."""
        for path in self.files():
            path.unlink()

    def close(self) -> None:
        """Leave the shards, which other programs read, and nothing else."""
        _last_lines.cache_clear()
        remove_leftovers(self.folder)


def _row(answer: Prediction) -> dict[str, Any]:
    """Return a row of a shard: texts in UTF-8, and the line, which is ASCII and has the path as it was given."""
    content = answer.to_json()
    row = {name: content[name] for name in ("video", *_FIGURES)}
    row |= {name: printable(row[name]) for name in ("video", "label", "error") if row[name] is not None}
    return row | {_LINE: answer_line(answer).decode().rstrip("\n")}


def _lines(path: Path) -> list[str]:
    import pyarrow as pa
    from pyarrow import parquet

    content = read_bounded(path)
    try:
        _refuse_types(content)
        file = parquet.ParquetFile(pa.BufferReader(content))
        about = file.metadata
        size = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
        if about.num_rows > MOST_ROWS or size > MAX_BYTES:
            raise ValueError(f"has {about.num_rows} rows of {size} bytes")
        lines: list[str] = file.read(columns=[_LINE]).column(_LINE).to_pylist()
        for line in lines:
            Prediction.from_json(parse_json(line))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:  # OSError: of a damaged footer
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{path}: not a shard of dsn-predict ({reason})") from None
    return lines


def _refuse_types(content: bytes) -> None:
    """Refuse a file of Parquet that names types of Arrow; those that Ray registers unpickle values.

    Raises:
        ValueError: its footer has a schema of Arrow, which opening the file would read.
    """
    length = int.from_bytes(content[-_FOOTER_END:-4], "little")
    if _SCHEMA in content[-_FOOTER_END - length :]:
        raise ValueError("names types of Arrow, which may hold code")


@lru_cache(maxsize=1)  # lines are asked for in the order of the videos, and so of the shards
def _last_lines(path: Path) -> list[str]:
    return _lines(path)
