"""The figures that jobs of a sweep return and that a search goes by: their directions and their values in a run.

``best``
    the best value of the held-out videos: that of ``best.ckpt``
``val/FIGURE``
    a column of ``metrics.csv``: its best epoch
``results/SELECTION/FIGURE``
    a row of ``results.json``, of an evaluation on held-out videos (``test.subset=val``)
``gmacs``
    the cost of a video with the run's own selection method, of ``results.json``
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.row_check import is_row
from dsn_lightning.evaluation.splits import FIGURES, HEADINGS, HELD_OUT
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.stored_configs import number_of
from dsn_lightning.runs.tolerant_files import read_json, read_text
from dsn_lightning.text_tables import csv_records

KEY = "sweep.metric"
BEST, _COST = "best", "gmacs"
_OF_EPOCHS, _OF_RESULTS, _OF_TEST = "val/", "results/", "test/"
_LOGGED = tuple(name for name in HEADINGS if name != "hit_rate")


@dataclass(frozen=True)
class Objective:
    """A figure of a run."""

    name: str  # as sweep.metric has it

    @property
    def is_maximized(self) -> bool:
        """Whether more is better: rates are, costs are not."""
        return self.name == BEST or self.name.rpartition("/")[2] in HEADINGS

    @property
    def has_epochs(self) -> bool:
        """Whether each epoch with a validation has a value, which a pruner can judge."""
        return self.name == BEST or self.name.startswith(_OF_EPOCHS)

    def value(self, run: RunFolder) -> float | None:
        """Return the value of a run that has ended; None if it recorded none.

        >>> from pathlib import Path
        >>> Objective("best").value(RunFolder(Path("no/such/run"))) is None
        True
        """
        if self.name == BEST:
            return run.best_value()
        if self.has_epochs:
            return max(self.history(run).values(), default=None)
        selection, figure = _parts(self.name)
        rows = [row for row in _rows(run) if row["selection"] == (selection or row.get("algorithm"))]
        rows = [row for row in rows if row.get("classifier") == row.get("algorithm")] or rows
        if figure in HEADINGS:
            rows = [row for row in rows if row["dataset"].endswith(HELD_OUT)]
        values = {value for row in rows if isinstance(value := row.get(figure), int | float)}
        return float(values.pop()) if len(values) == 1 else None  # several: of several schemes, crops or modalities

    def history(self, run: RunFolder) -> dict[int, float]:
        """Return the value of each epoch with a validation so far, by its number from 0."""
        column = run.progress().get("best_of") if self.name == BEST else self.name
        text = read_text(run.metrics_csv)
        rows = csv_records(text[: text.rfind("\n") + 1])
        pairs = [(number_of(row.get("epoch")), number_of(row.get(str(column)))) for row in rows]
        return {int(epoch): value for epoch, value in pairs if epoch == epoch and value == value}  # NaN: not known


def values_of(objectives: Sequence[Objective], run: RunFolder) -> float | list[float] | None:
    """Return the value of a run, or the list of several; None if it did not record one of them."""
    values = [value for objective in objectives if (value := objective.value(run)) is not None]
    if len(values) < len(objectives):
        return None
    return values[0] if len(values) == 1 else values


def missing_value(objectives: Sequence[Objective], run: RunFolder) -> str | None:
    """Return which value a run that ended well has not recorded, and why; None if it has all."""
    for objective in objectives:
        if objective.value(run) is None and objective.has_epochs:
            return f"no value of {KEY}={objective.name}: its data set has no held-out videos; see dataset.val_fraction"
        if objective.value(run) is None:
            return f"no value of {KEY}={objective.name}: results.json has no row with it, or several that differ"
    return None


def _parts(name: str) -> tuple[str, str]:
    """Return the selection method (empty: the run's own) and the figure of a row of results."""
    selection, _, figure = name.removeprefix(_OF_RESULTS).rpartition("/")
    return selection, figure


def _rows(run: RunFolder) -> list[dict[str, Any]]:
    content = read_json(run.results_json)
    return [row for row in content if is_row(row)] if isinstance(content, list) else []


def objectives_of(metric: object, *, subset: str, tested: bool) -> list[Objective]:
    """Return what ``sweep.metric`` names, one figure or a list.

    Args:
        metric: the value of the key.
        subset: ``test.subset`` of the runs.
        tested: ``test.enabled`` of the runs.

    Raises:
        UsageError: a name is not known or named twice, is a figure of the test videos, or is not recorded without a
            test.
    """
    names = metric if isinstance(metric, list | tuple) else [metric]
    if not names or len({*map(str, names)}) < len(names):
        raise UsageError(f"{KEY}={_shown(names)}: expected the name of a figure, or a list of different ones")
    return [_checked(str(name), subset=subset, tested=tested) for name in names]


def _shown(names: Sequence[object]) -> str:
    return f"[{','.join(map(str, names))}]"


def _checked(name: str, *, subset: str, tested: bool) -> Objective:
    selection, figure = _parts(name)
    is_row_of_results = name == _COST or (name.startswith(_OF_RESULTS) and bool(selection) and figure in FIGURES)
    if name.startswith(_OF_TEST) or (is_row_of_results and figure in HEADINGS and subset == "test"):
        raise UsageError(
            f"{KEY}={name}: is a figure of the test videos, by which no setting may be chosen; use {BEST}, or "
            f"test.subset=val with {_OF_RESULTS}SELECTION/FIGURE, which are figures of held-out videos"
        )
    is_logged = name.startswith(_OF_EPOCHS) and name.removeprefix(_OF_EPOCHS) in _LOGGED
    if not (name == BEST or is_logged or is_row_of_results):
        logged = ", ".join(_OF_EPOCHS + figure for figure in _LOGGED)
        raise UsageError(f"{KEY}={name}: expected {BEST}, {logged}, {_OF_RESULTS}SELECTION/FIGURE or {_COST}")
    if is_row_of_results and not tested:
        raise UsageError(f"{KEY}={name}: is in results.json, which a run writes with test.enabled=true")
    return Objective(name)
