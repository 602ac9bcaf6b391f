"""Reads the trials of a search (``trials.csv``) into a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dsn_lightning.errors import UsageError
from dsn_lightning.files import UnreadableFileError, read_bounded, user_path
from dsn_lightning.runs.sweep_folder import SweepFolder
from dsn_lightning.text_tables import csv_records

if TYPE_CHECKING:
    import os

    import pandas as pd

_STATES = ("waiting", "running", "done", "failed", "stopped", "pruned", "skipped")
_FLAGS = {"True": True, "False": False}
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?|nan|-?inf")
_MAX_COLUMNS = 1000


def read_trials(sweep: str | os.PathLike[str]) -> pd.DataFrame:
    """Return one row for each trial of a search that ``sweep.sampler`` made; an empty table for a grid.

    Columns: ``trial`` (from 0), ``state``, the trial's parameters, the values of ``sweep.metric`` (NaN if the trial has
    none), ``on_frontier`` (whether no other trial is better) and ``folder``, relative to the sweep's.

    Raises:
        UsageError: the folder does not exist, or ``trials.csv`` is damaged.
    """
    import pandas as pd

    folder = user_path(sweep)
    if not folder.is_dir():
        raise UsageError(f"{sweep}: no such folder")
    file = SweepFolder(folder).trials_csv
    try:
        text = read_bounded(file).decode("utf-8", "replace")  # names of folders may be in other bytes
    except FileNotFoundError:
        return pd.DataFrame()
    try:
        columns = _columns(text)
    except (ValueError, csv.Error) as error:
        raise UnreadableFileError(file, f"is damaged ({error}); resuming the sweep writes it again") from error
    return pd.DataFrame(columns)


def _columns(text: str) -> dict[str, list[Any]]:
    """Return the columns of the file; ValueError or csv.Error if `csv_text` would not write such trials."""
    lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    if not lines:
        return {}
    header, records = lines[0], list(csv_records(text))
    if header[:2] != ["trial", "state"] or "on_frontier" not in header or len(header) > _MAX_COLUMNS:
        raise ValueError("expected the columns trial, state, ..., on_frontier")
    if not text.endswith("\n"):
        raise ValueError("its last line is incomplete")
    if any(len(line) != len(header) for line in lines) or len(records) != len(lines) - 1:
        raise ValueError(f"expected {len(header)} cells in each line")
    for number, record in enumerate(records):
        if len(record) != len(header):
            raise ValueError("a column occurs twice")
        if record["trial"] != str(number):
            raise ValueError(f"expected trial {number}, got {record['trial']!r:.40}")
        if record["state"] not in _STATES:
            raise ValueError(f"trial {number}: unknown state {record['state']!r:.40}")
        if record["on_frontier"] not in _FLAGS:
            raise ValueError(f"trial {number}: expected on_frontier to be True or False")
    columns: dict[str, list[Any]] = {name: [r[name] for r in records] for name in (records[0] if records else ())}
    last = next(reversed(columns), None)
    for name, cells in columns.items():
        if name == "on_frontier":
            columns[name] = [_FLAGS[cell] for cell in cells]
        elif name != last:  # names of folders, which may be numbers
            columns[name] = _numbers(cells)
    return columns


def _numbers(cells: Sequence[str]) -> list[Any]:
    """Return cells as numbers if all that are filled are, with NaN for the empty ones; otherwise the texts.

    >>> _numbers(["1", "2"]), _numbers(["0.5", ""]), _numbers(["a", "1"])
    ([1, 2], [0.5, nan], ['a', '1'])
    """
    if all(_WHOLE_NUMBER.fullmatch(cell) for cell in cells):
        return [int(cell) for cell in cells]
    if all(not cell or _NUMBER.fullmatch(cell) for cell in cells):
        return [float(cell or "nan") for cell in cells]
    return list(cells)
