"""Whether an entry of a ``results.json``, which anybody may have written, is a row of results; imports no PyTorch."""

from collections.abc import Mapping
from typing import Any

from dsn_lightning.evaluation.splits import COUNTS, FIGURES, HEADINGS

_TEXTS = ("split", "modality", "classifier", "algorithm", "backbone", "observation", "estimator", "reward", "seed")
_MAX_CANDIDATES = 10**6  # of a video


def is_row(row: object) -> bool:
    """Return whether this is a row of results: it names data set and selection, and its values have the right types.

    Rates lie in [0, 1], costs and counts are finite and not negative. A row may have further fields of plain values.

    >>> is_row({"dataset": "needle", "selection": "dense", "top1": 0.5}), is_row({"dataset": "needle", "top1": 0.5})
    (True, False)
    """
    if not isinstance(row, dict) or len(row) > 1000 or not all(isinstance(key, str) for key in row):
        return False
    if not all(isinstance(row.get(key), str) for key in ("dataset", "selection")):
        return False
    if not all(value is None or isinstance(value, str | int | float) for value in row.values()):
        return False
    figures = {name: value for name in FIGURES if (value := row.get(name)) is not None}
    return (
        all(row.get(name) is None or isinstance(row[name], str | int) for name in _TEXTS)
        and all(_is_number(value, 1 if name in HEADINGS else 1e12) for name, value in figures.items())
        and all(row.get(name) is None or _is_count(row[name]) for name in (*COUNTS, "M", "N", "train_M", "train_N"))
        and (row.get("M") or 1) * (row.get("N") or 1) <= _MAX_CANDIDATES
    )


def is_fused(row: Mapping[str, Any]) -> bool:
    """Return whether a row fuses several streams, each of which keeps its own clips.

    >>> is_fused({"modality": "rgb+flow"}), is_fused({"modality": "rgb"})
    (True, False)
    """
    return "+" in str(row.get("modality"))


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number(value: object, largest: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= largest
