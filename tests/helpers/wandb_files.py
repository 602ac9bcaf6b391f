"""Reads the file that W&B writes off-line: W&B has no public reader of it."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK = 32768
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def records(file: Path) -> Iterator[Record]:
    """Yield the records of a ``.wandb`` file: a LevelDB log behind a header of seven bytes."""
    data = file.read_bytes()
    assert data[:4] == b":W&B"
    position, whole = 7, b""
    while position + 7 <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < 7:  # a block's end too short for a header
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        assert kind in (_FULL, _FIRST, _MIDDLE, _LAST)
        part = data[position + 7 : position + 7 + length]
        position += 7 + length
        whole = part if kind in (_FULL, _FIRST) else whole + part
        if kind in (_FULL, _LAST):
            yield Record.FromString(whole)


@dataclass
class WandbFile:
    """What an off-line folder holds; ``files`` are those of its tables, by their path in the table's artifact."""

    folder: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    artifacts: list[Any] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)  # name, or pattern with a star -> its definition
    files: dict[str, Path] = field(default_factory=dict)
    saved: dict[str, str] = field(default_factory=dict)  # text of the run's own files by name
    alerts: list[Any] = field(default_factory=list)

    def definition(self, name: str) -> Any:
        """Return what W&B was told of a figure: of its own name, or of the only pattern that it matches."""
        patterns = [key for key in self.metrics if key.endswith("*") and name.startswith(key[:-1])]
        (key,) = [name] if name in self.metrics else patterns
        return self.metrics[key]

    def table(self, key: str) -> list[dict[str, Any]]:
        """Return the rows of a logged table."""
        assert self.summary[key]["_type"] == "table-file"
        content = json.loads(self.files[f"{key}.table.json"].read_text())
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def read(folder: Path) -> WandbFile:
    """Read an ``offline-run-*`` folder."""
    (file,) = folder.glob("run-*.wandb")
    found = WandbFile(folder)
    for record in records(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            _update(found.config, record.run.config.update)
        elif kind == "config":
            _update(found.config, record.config.update)
        elif kind == "history":
            found.history.append(_update({}, record.history.item))
        elif kind == "summary":
            _update(found.summary, record.summary.update)
        elif kind == "metric":
            found.metrics[record.metric.name or record.metric.glob_name] = record.metric
        elif kind == "artifact":
            found.artifacts.append(record.artifact)
            found.files |= {entry.path: Path(entry.local_path) for entry in record.artifact.manifest.contents}
        elif kind == "files":
            names = [file.path for file in record.files.files]
            found.saved |= {name: (folder / "files" / name).read_text() for name in names}
        elif kind == "alert":
            found.alerts.append(record.alert)
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def read_all(run_dir: Path) -> list[WandbFile]:
    """Read all off-line folders of a run, oldest first."""
    folders = (run_dir / "wandb").glob("offline-run-*")
    files = [read(folder) for folder in folders if any(folder.glob("run-*.wandb"))]
    begun = [found for found in files if found.run is not None]  # a killed process may leave an empty file, or none
    return sorted(begun, key=lambda found: (found.run.start_time.seconds, found.run.start_time.nanos))


def _update(content: dict[str, Any], items: Any) -> dict[str, Any]:
    for item in items:
        keys = list(item.nested_key) or [item.key]
        place = content
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = json.loads(item.value_json)
    return content
