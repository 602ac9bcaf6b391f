"""Which row of the paper's tables a result belongs to, and what the paper gives there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dsn_lightning.paper import lines_of, paper_table

NUMERALS = {1: "I", 2: "II", 3: "III", 4: "IV", 5: "V", 6: "VI"}

_METHOD_TABLES = (1, 2)  # they compare methods, all with the same networks
_METHOD_NETWORKS = {"backbone": ("r3d_18",), "observation": (None, "r2d_18")}
_METHOD_NETWORKS_NAME = "R3D-18, ResNet2D-18"
_METRICS = ("top1", "top5", "map")


@dataclass(frozen=True)
class PaperFigure:
    """A figure that the paper gives."""

    table: int
    row: str  # as the paper names it
    figure: str  # top1, top5 or map
    value: float  # fraction in [0, 1]
    gmacs: float | None  # the paper's cost of the row, where the table has it
    networks: str  # of the paper's row, where the result has others; else empty

    @property
    def place(self) -> str:
        """Return the table and its row in words."""
        return f"Table {NUMERALS[self.table]}, {self.row}"


def paper_metric(dataset: str) -> str | None:
    """Return the metric that the paper's Table I gives for a data set; None if it is not one of the paper's.

    >>> paper_metric("thumos14"), paper_metric("hmdb51"), paper_metric("needle")
    ('map', 'top1', None)
    """
    columns = (column for row in paper_table(1).values() for column in row)
    return next((metric for name, _, metric in (column.partition("/") for column in columns) if name == dataset), None)


_REWARD = "CorrectClass"
"""Eq. 6 in the field ``reward``; samplers of other rewards are not the paper's."""


def paper_figures(result: Mapping[str, Any]) -> list[PaperFigure]:
    """Return what the paper gives for a result; empty where it belongs to no row of Tables I to VI.

    A result belongs to a row when data set, selection, modality, scheme and number of clips are the row's, and in
    Tables III to VI the classifier's network as well (``matching.csv``). Tables I and II, which compare methods, are of
    R3D-18 with ResNet2D-18; they also match results of other networks that have no row of their own, and
    `PaperFigure.networks` says so. Table VII has means over splits, which no single result is. Results do not say
    which of THUMOS14's sets they were trained on, so some belong to rows of Table I (validation) and of V (both).

    Args:
        result: the fields of a row of ``results.json``; a figure that is absent or None is not compared.
    """
    if result.get("split") not in (None, 1) or result.get("crops", 1) != 1:
        return []
    if result.get("reward") not in (None, _REWARD):
        return []
    same_networks = all(result.get(name) in values for name, values in _METHOD_NETWORKS.items())
    found = []
    for table, row in _matching_rows(result):
        known = paper_table(table)[row]
        if known.get("clips", result.get("clips")) != result.get("clips"):
            continue
        for figure in _METRICS:
            value = known.get(f"{result['dataset']}/{figure}", known.get(figure))
            if value is not None and result.get(figure) is not None:
                networks = "" if same_networks or table not in _METHOD_TABLES else _METHOD_NETWORKS_NAME
                found.append(PaperFigure(table, row, figure, value, known.get("gmacs"), networks))
    return [one for one in found if not one.networks] or found


def _matching_rows(result: Mapping[str, Any]) -> list[tuple[int, str]]:
    streams = "+".join(sorted(str(result.get("modality")).split("+"), reverse=True))  # a fusion names either one first
    values = {**result, "modality": streams}
    found = []
    for line in lines_of("matching.csv"):
        conditions = {field: cell.split() for field, cell in line.items() if cell and field not in ("table", "row")}
        if all(str(values.get(field)) in accepted for field, accepted in conditions.items()):
            found.append((int(line["table"]), line["row"]))
    return found
