"""Reads the runs that W&B has logged offline: ``offline-run-*/run-ID.wandb``, of which W&B has no public reader.

Such a file is a log in LevelDB's format: a header of seven bytes, then blocks of 32 KiB with parts of records, each of
them a message of W&B's protocol. W&B may be writing it, or may have been killed: what comes before the damage is read.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsn_lightning.files import UnreadableFileError, check_nesting, is_inside, parse_json, read_bounded
from dsn_lightning.runs.exit_codes import STOPPED_BY_CTRL_C, STOPPED_BY_SIGTERM
from dsn_lightning.runs.tolerant_files import note_problem, read_json

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import Record

_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-([\w-]+)")
_MAGIC, _HEADER, _BLOCK = b":W&B", 7, 2**15
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4  # parts of a record
_MAX_BYTES = 2**28
_ROWS = ("test/rows", "held_out/rows")
"""Names of the table with the rows of ``results.json``."""

SWEEP = "sweep"
"""Job type of the run that a sweep logs at its end."""

_Json = dict[str, Any]


@dataclass
class StoredWandbRun:
    """A run as W&B has stored it.

    Attributes:
        id: W&B's id of the run.
        folder: where it lies; of a resumed run, that of its last part.
        job_type: ``train``, ``evaluate``, or ``sweep`` for the end of a sweep.
        config: the configuration, nested.
        history: rows as they were logged.
        tables: rows of results.
        started: in ISO format; None if it is not known.
        seconds: running time.
        exit_code: None if the run has not ended, or was killed.
    """

    id: str
    folder: Path
    job_type: str = ""
    config: _Json = field(default_factory=dict)
    history: list[_Json] = field(default_factory=list)
    tables: list[_Json] = field(default_factory=list)
    started: str | None = None
    seconds: float | None = None
    exit_code: int | None = None

    @property
    def state(self) -> str:
        """``finished``, ``stopped`` or ``failed``; ``unknown`` without an exit code."""
        if self.exit_code is None:
            return "unknown"
        stopped = self.exit_code in (STOPPED_BY_CTRL_C, STOPPED_BY_SIGTERM)
        return "finished" if self.exit_code == 0 else "stopped" if stopped else "failed"

    def epochs(self) -> list[_Json]:
        """Return one row for each epoch with what ``metrics.csv`` has; of an epoch that was repeated, the last values.

        Numbers alone: no media, no figures of tests, nothing that W&B adds itself.
        """
        found: dict[int, _Json] = {}
        for row in self.history:
            epoch: Any = row.get("epoch")
            if not is_number(epoch) or epoch != int(epoch) or not 0 <= epoch < 2**53:
                continue
            logged = {name: value for name, value in row.items() if is_number(value) and _is_of_an_epoch(name)}
            found.setdefault(int(epoch), {}).update(logged | {"epoch": int(epoch)})
        return [found[epoch] for epoch in sorted(found)]

    def results(self) -> list[_Json]:
        """Return the rows of results."""
        return self.tables


def _is_of_an_epoch(name: str) -> bool:
    return not name.startswith(("_", "test/", "trainer/"))


def is_number(value: object) -> bool:
    """Return whether a value is a finite number that a table holds.

    >>> [is_number(value) for value in (1, 0.5, True, float("nan"), 2**64, "1")]
    [True, True, False, False, False, False]
    """
    if isinstance(value, int):
        return not isinstance(value, bool) and -(2**63) <= value < 2**63
    return isinstance(value, float) and abs(value) < 1e300


def offline_runs(folders: Iterable[Path]) -> list[StoredWandbRun]:
    """Read the runs in those of ``folders`` that are W&B's; the parts of a resumed run become one run.

    The ends of sweeps, which are runs in W&B as well, are left out.
    """
    parts: dict[tuple[Path, str], list[Path]] = {}
    for folder in folders:
        name = _FOLDER.fullmatch(folder.name)
        if name and any(folder.glob("run-*.wandb")):
            parts.setdefault((folder.parent, name[1]), []).append(folder)
    runs = [_joined([_read(folder, run_id) for folder in sorted(found)]) for (_, run_id), found in parts.items()]
    return [run for run in runs if run.job_type != SWEEP]


def _joined(parts: Sequence[StoredWandbRun]) -> StoredWandbRun:
    """Return the parts of a run, oldest first, as one."""
    last = parts[-1]
    seconds = [part.seconds for part in parts if part.seconds is not None]
    return StoredWandbRun(
        id=last.id,
        folder=last.folder,
        job_type=last.job_type,
        config=next((part.config for part in reversed(parts) if part.config), {}),
        history=[row for part in parts for row in part.history],
        tables=next((part.tables for part in reversed(parts) if part.tables), []),
        started=parts[0].started,
        seconds=sum(seconds) if seconds else None,
        exit_code=last.exit_code,
    )


def _read(folder: Path, run_id: str) -> StoredWandbRun:
    file = min(folder.glob("run-*.wandb"))
    run, summary = StoredWandbRun(run_id, folder), dict[str, Any]()
    try:
        for record in _records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run.started, run.job_type = _time(record.run.start_time.seconds), record.run.job_type
                _update(run.config, record.run.config.update)
            elif kind == "config":
                _update(run.config, record.config.update)
            elif kind == "history":
                run.history.append(_update({}, record.history.item))
            elif kind == "summary":
                _update(summary, record.summary.update)
            elif kind == "exit":
                run.exit_code, run.seconds = record.exit.exit_code, float(record.exit.runtime)
    except UnreadableFileError as error:
        note_problem(file, error.reason)
    except ValueError as error:  # the records before it are good
        note_problem(file, f"damaged ({error})")
    run.config.pop("_wandb", None)
    path = table_path(summary)
    run.tables = [] if path is None else rows_of_table(read_json(folder / "files" / path))
    return run


def _time(seconds: int) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if 0 < seconds < 2**33 else None


def _records(file: Path) -> Iterator["Record"]:
    """Yield the records of a file up to its end, or to where it is not complete.

    Raises:
        UnreadableFileError: see `read_bounded`.
        ValueError: it is no such file, or it is damaged.
    """
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record  # seconds, with W&B itself

    content = memoryview(read_bounded(file, _MAX_BYTES))
    if len(content) >= len(_MAGIC) and content[: len(_MAGIC)] != _MAGIC:
        raise ValueError("no file of W&B")
    position, parts = _HEADER, bytearray()
    while position + _HEADER <= len(content):
        left = _BLOCK - position % _BLOCK
        if left < _HEADER:  # the end of a block, too short for a part
            position += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", content, position)
        end = position + _HEADER + length
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or length > left - _HEADER:
            raise ValueError(f"no part of a record at byte {position}")
        if end > len(content):
            return
        if zlib.crc32(content[position + _HEADER - 1 : end]) != checksum:  # of the kind and the part
            raise ValueError(f"the checksum at byte {position} is wrong")
        if kind in (_FULL, _FIRST):
            parts.clear()
        parts += content[position + _HEADER : end]
        position = end
        if kind in (_FULL, _LAST):
            try:
                yield Record.FromString(bytes(parts))
            except DecodeError as error:
                raise ValueError(str(error)) from None


def _update(content: _Json, items: Any) -> _Json:
    """Set the values of W&B's items, each of which has JSON as its value; one that `parse_json` refuses is left out."""
    for item in items:
        keys = list(item.nested_key) or [item.key]
        try:
            value = parse_json(item.value_json)
        except ValueError:
            continue
        place = content
        for key in keys[:-1]:
            inner = place.setdefault(key, {})
            place = inner if isinstance(inner, dict) else place
        place[keys[-1]] = value
    check_nesting(content)
    return content


def table_path(summary: _Json) -> str | None:
    """Return the path of the table of results in the run's files; None if there is none, or if it lies elsewhere."""
    entry = next((summary[name] for name in _ROWS if name in summary), None)
    path = entry.get("path") if isinstance(entry, dict) else None
    return path if isinstance(path, str) and is_inside(path) else None


def rows_of_table(content: Any) -> list[_Json]:
    """Return the rows of the JSON of a W&B table."""
    columns, data = (content.get("columns"), content.get("data")) if isinstance(content, dict) else (None, None)
    if not isinstance(columns, list) or not isinstance(data, list) or not all(isinstance(c, str) for c in columns):
        return []
    fitting = [row for row in data if isinstance(row, list) and len(row) == len(columns)]
    return [dict(zip(columns, row, strict=True)) for row in fitting]
