"""The paper's figures as data, for comparison with ours.

``tables.csv`` has the paper's own rows, ``literature.csv`` those of other systems, and ``matching.csv`` says which of
our results belong to which row.
"""

import csv
from functools import cache
from importlib.resources import files


@cache
def lines_of(file: str) -> tuple[dict[str, str], ...]:
    """Return the lines of one of this folder's CSV files."""
    text = (files(__package__) / file).read_text(encoding="utf-8")
    return tuple(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def paper_table(number: int) -> dict[str, dict[str, float]]:
    """Return the paper's own figures in one of its tables: row -> column -> value, rows in the paper's order.

    Columns and units are those of ``results.json``: ``clips``, ``gmacs`` (the paper's FLOPs, which are multiply-adds,
    in 10^9), ``top1``, ``top5`` and ``map`` in [0, 1]; where a table has several data sets, as ``hmdb51/top1``.

    Raises:
        ValueError: ``tables.csv`` has no figures of the table.

    >>> paper_table(3)["R3D"]
    {'clips': 10.0, 'gmacs': 203.6, 'top1': 0.595}
    >>> paper_table(1)["DSN"]["hmdb51/top1"]
    0.595
    """
    rows = _table("tables.csv", number)
    if not rows:
        raise ValueError(f"paper/tables.csv has no figures of Table {number}")
    return {row: {column: float(value) for column, value in values.items()} for row, values in rows.items()}


def literature(number: int) -> dict[str, dict[str, str]]:
    """Return what one of the paper's tables gives for other systems: row -> column -> text; empty if it has none.

    Columns are ``clips``, ``input``, ``backbone``, ``pretrained`` and rates in [0, 1], named as in `paper_table`.

    >>> literature(7)["C3D [4]"]["ucf101/top1"]
    '0.823'
    """
    return _table("literature.csv", number)


def _table(file: str, number: int) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for line in lines_of(file):
        if int(line["table"]) == number:
            rows.setdefault(line["row"], {})[line["column"]] = line["value"]
    return rows
