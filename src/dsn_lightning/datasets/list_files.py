"""Reads list files of the user's videos: text with lines ``path label``, or CSV with several labels and segments.

Text: the label is the last word; the path before it may contain spaces. A line that ends with a video extension, or
is a single word, is a path without a label; its class is the folder that contains it. CSV (``*.csv``): a header with
``path`` and, optionally, ``label`` (several are separated by ``;``), ``start`` and ``end`` (seconds; the video is that
part of the file) and ``group``.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dsn_lightning.datasets.annotations import checking_format, read_lines, table_of, video_stem
from dsn_lightning.errors import UsageError, printable

_COLUMNS = ("path", "label", "start", "end", "group")


class ListEntry(NamedTuple):
    """An entry of a list file."""

    path: str  # as written, relative to the data set's root
    labels: tuple[str, ...] | None = None  # names or numbers of its classes; None if the list gives no labels
    segment: tuple[float, float] | None = None  # half-open, in seconds; None for the whole file
    group: str | None = None  # what it was cut from


def read_list(file: Path) -> list[ListEntry]:
    """Read a list file; it is a `UsageError` if it is malformed, or only some of its videos have labels."""
    entries = _read_csv(file) if file.suffix.lower() == ".csv" else [parse_line(line) for line in read_lines(file)]
    if not entries:
        raise UsageError(f"{file}: the list is empty")
    labelled = [entry for entry in entries if entry.labels is not None]
    if labelled and len(labelled) < len(entries):
        bare = next(entry for entry in entries if entry.labels is None)
        raise UsageError(f"{file}: {bare.path!r} has no label but {labelled[0].path!r} has one; label all or none")
    return entries


def parse_line(line: str) -> ListEntry:
    """Parse a line of a text list.

    >>> parse_line("my videos/a b.mp4 3")
    ListEntry(path='my videos/a b.mp4', labels=('3',), segment=None, group=None)
    >>> parse_line("walk/a b.mp4").labels is None
    True
    """
    path, *label = line.rsplit(maxsplit=1)
    return ListEntry(line) if video_stem(line) != line or not label else ListEntry(path, (label[0],))


def _read_csv(file: Path) -> list[ListEntry]:
    with checking_format(file):
        table = table_of(file, skip_spaces=True)
        columns = [str(name) for name in table.fieldnames or ()]
        unknown = [name for name in columns if name not in _COLUMNS]
        if "path" not in columns or unknown or ("start" in columns) != ("end" in columns):
            given = printable(" ".join(",".join(columns)[:100].split()))  # a quote makes all that follows one cell
            raise UsageError(f"{file}: expected the header path[,label][,start,end][,group], got {given}")
        return [_parse_row(row, f"{file}, line {table.line_num}") for row in table]


def _parse_row(row: Mapping[str | None, str | None], where: str) -> ListEntry:
    cells = {str(name): (value or "").strip() for name, value in row.items() if name is not None}
    if None in row or not cells["path"]:
        raise UsageError(f"{where}: {'too many cells' if None in row else 'no path'}")
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
            given = f"start={cells['start']}, end={cells['end']}"
            raise UsageError(f"{where}: {given}: must be seconds with 0 <= start < end, or both empty")
    return ListEntry(cells["path"], labels, segment, cells.get("group") or None)
