"""List files of anyone's own videos: text with one ``path label`` a line, or CSV with several labels and segments.

Text: the label is the last word; the path before it may have spaces. A line that ends like a video file, or is one
word, is a path alone, and its class is the folder it lies in. CSV (``*.csv``): a header, then ``path``, and where they
are wanted ``label`` (several are separated by ``;``), ``start`` and ``end`` (seconds; the video is that part of the
file) and ``group``.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dsn_lightning.datasets.annotations import read_lines, stem_of
from dsn_lightning.errors import UsageError

_COLUMNS = ("path", "label", "start", "end", "group")


@dataclass(frozen=True)
class Listed:
    """An entry of a list file.

    Attributes:
        path: as it is written, relative to the data set's root.
        labels: names or numbers of its classes; None where the list gives no labels.
        segment: the part of the file that is meant, half-open ``[start, end)`` in seconds; None for all of it.
        group: what it was cut from, or None.
    """

    path: str
    labels: tuple[str, ...] | None = None
    segment: tuple[float, float] | None = None
    group: str | None = None


def read_list(file: Path) -> list[Listed]:
    """Read a list file.

    Raises:
        UsageError: it is missing, empty or malformed, or gives some of its videos labels and others none.
    """
    entries = _read_csv(file) if file.suffix.lower() == ".csv" else [parse_line(line) for line in read_lines(file)]
    if not entries:
        raise UsageError(f"{file}: the list is empty")
    with_label = [entry for entry in entries if entry.labels is not None]
    if with_label and len(with_label) < len(entries):
        bare = next(entry for entry in entries if entry.labels is None)
        raise UsageError(
            f"{file}: {bare.path!r} has no label, {with_label[0].path!r} has one; give all of them or none"
        )
    return entries


def parse_line(line: str) -> Listed:
    """Return what a line of a text list means.

    >>> parse_line("my videos/a b.mp4 3")
    Listed(path='my videos/a b.mp4', labels=('3',), segment=None, group=None)
    >>> parse_line("walk/a b.mp4").labels is None
    True
    """
    path, *label = line.rsplit(maxsplit=1)
    return Listed(line) if stem_of(line) != line or not label else Listed(path, (label[0],))


def _read_csv(file: Path) -> list[Listed]:
    read_lines(file)  # refuses what is missing, empty or no text
    with file.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines, skipinitialspace=True)
        columns = [str(name) for name in table.fieldnames or ()]
        unknown = [name for name in columns if name not in _COLUMNS]
        if "path" not in columns or unknown or ("start" in columns) != ("end" in columns):
            raise UsageError(
                f"{file}: its first line is {','.join(columns)}; wanted is path[,label][,start,end][,group]"
            )
        return [_parse_row(row, f"{file}, line {table.line_num}") for row in table]


def _parse_row(row: Mapping[str | None, str | None], where: str) -> Listed:
    cells = {str(name): (value or "").strip() for name, value in row.items() if name is not None}
    if None in row or not cells["path"]:
        raise UsageError(f"{where}: has {'too many cells' if None in row else 'no path'}")
    labels = None
    if "label" in cells:
        labels = tuple(dict.fromkeys(name.strip() for name in cells["label"].split(";") if name.strip()))
        if not labels:
            raise UsageError(f"{where}: {cells['path']!r} has no label")
    segment = None
    if cells.get("start") or cells.get("end"):
        try:
            segment = (float(cells["start"]), float(cells["end"]))
        except ValueError:
            segment = (math.nan, math.nan)
        if not 0 <= segment[0] < segment[1] < math.inf:
            raise UsageError(
                f"{where}: start={cells['start']}, end={cells['end']}: must be seconds with 0 <= start < end, or both "
                "empty"
            )
    return Listed(cells["path"], labels, segment, cells.get("group") or None)
