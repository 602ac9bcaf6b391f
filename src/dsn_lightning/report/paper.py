"""Which row of which of the paper's tables a result belongs to, and what the paper gives there."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from dsn_lightning.paper import paper_table
from dsn_lightning.report.results import Result

NUMERALS = {1: "I", 2: "II", 3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII"}

_METHODS = {
    "random": "Baseline (random)",
    "uniform": "Baseline (uniform)",
    "max_response": "Max response",
    "dsn_fixed": "DSN-f",
    "dsn": "DSN",
    "dense": "Dense sampling",
    "oracle": "Oracle sampling",
}
_TRIMMED = ("ucf101", "hmdb51")
_UNTRIMMED = ("thumos14", "activitynet")


@dataclass(frozen=True)
class PaperFigure:
    """A figure that the paper gives.

    Attributes:
        table: its number.
        row: as the paper names it.
        figure: ``top1``, ``top5`` or ``map``.
        value: fraction in [0, 1].
        gmacs: the paper's cost of the row, where the table has it.
        networks: what the paper's row was measured with, where ours had other networks.
    """

    table: int
    row: str
    figure: str
    value: float
    gmacs: float | None = None
    networks: str = ""

    @property
    def place(self) -> str:
        """Return the table and its row in words."""
        return f"Table {NUMERALS[self.table]}, {self.row}"


def paper_figures(result: Result) -> list[PaperFigure]:
    """Return what the paper gives for a result, the metric of its tables only; empty where it belongs to no row.

    A result belongs to a row when its data set, selection, scheme and, in Tables III and IV, its networks are the row's.
    Tables I and II are of R3D-18 with ResNet2D-18; other networks are compared with them too, and `networks` says so.
    """
    own = result.described
    if own.get("modality") != "rgb" or own.get("split") not in (None, 1) or own.get("crops", 1) != 1:
        return []
    found = []
    other = (
        "" if own.get("backbone") == "r3d_18" and own.get("observation") in (None, "r2d_18") else "R3D-18, ResNet2D-18"
    )
    for table, row in _rows_of(own):
        known = _table(table).get(row, {})
        for figure in ("top1", "top5", "map"):
            value = known.get(f"{own['dataset']}.{figure}", known.get(figure) if table in (3, 4) else None)
            if value is not None and result.mean(figure) is not None:
                found.append(PaperFigure(table, row, figure, value, known.get("gmacs"), other if table < 3 else ""))
    return found


def _rows_of(own: dict[str, Any]) -> list[tuple[int, str]]:
    """Return (table, row) of every row that a result's fields are those of."""
    dataset, selection, classifier = own["dataset"], own["selection"], own.get("classifier")
    test, train = (own.get("M"), own.get("N")), (own.get("train_M"), own.get("train_N"))
    if dataset not in _TRIMMED + _UNTRIMMED or classifier != ("dsn" if selection == "dsn" else "baseline"):
        return []
    found = []
    scheme = (1, 3) if dataset in _TRIMMED else (6, 3)
    if selection in _METHODS and test == scheme and (selection not in ("dsn", "dsn_fixed") or train == scheme):
        found.append((1, _METHODS[selection]))
    if dataset in _TRIMMED and selection == "dsn" and train in ((1, 3), (1, 6), (3, 3)) and test == (3, train[1]):
        found.append((2, f"{train[0]}:{train[1]}"))
    name = {"r3d_18": "R3D", "r2plus1d_34": "R(2+1)D"}.get(str(own.get("backbone")))
    if name is None:
        return found
    if dataset == "hmdb51":
        if selection == "dense":
            found.append((3, name))
        elif selection == "dsn" and (train, test) in (((1, 3), (4, 3)), ((3, 3), (3, 3))):
            found.append((3, f"{name} & DSN (M = {train[0]})"))
    elif dataset == "thumos14":
        if selection == "dense":
            found.append((4, f"{name} & TSN (S = 3)" if name == "R3D" else name))
        elif selection == "dsn" and test == (6, 3):
            found.append((4, f"{name} & DSN (M = {3 if name == 'R3D' else 1})"))
    return found


@cache
def _table(number: int) -> dict[str, dict[str, float]]:
    try:
        return paper_table(number)
    except ValueError:  # not in the data file
        return {}
