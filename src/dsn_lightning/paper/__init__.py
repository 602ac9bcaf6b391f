"""Figures that the paper gives, as data: what ours are compared with."""

import csv
from functools import cache
from importlib.resources import files


@cache
def _lines() -> tuple[dict[str, str], ...]:
    text = (files(__package__) / "tables.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def paper_table(number: int) -> dict[str, dict[str, float]]:
    """Return the figures of one of the paper's tables: row -> column -> value, rows in the paper's order.

    Columns and units are those of ``results.json``: ``clips``, ``gmacs`` (the paper's FLOPs, which are multiply-adds,
    in 10^9), ``top1`` and ``map`` in [0, 1].

    Raises:
        ValueError: its figures are not in ``tables.csv``.

    >>> paper_table(3)["R3D"]
    {'clips': 10.0, 'gmacs': 203.6, 'top1': 0.595}
    """
    rows: dict[str, dict[str, float]] = {}
    for line in _lines():
        if int(line["table"]) == number:
            rows.setdefault(line["row"], {})[line["column"]] = float(line["value"])
    if not rows:
        raise ValueError(f"the figures of Table {number} are not in paper/tables.csv")
    return rows
