"""A table or figure of the paper as data: its rows, and the trainings and evaluations that they are read from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_RESPONSE = "max_response"
"""In a `PlannedEvaluation`, the network that the sampler of the run named ``dsn`` starts from."""


@dataclass(frozen=True)
class PlannedEvaluation:
    """One call of dsn-evaluate.

    Attributes:
        roles: role (``checkpoint``, ``baseline``, ``dsn_fixed``, ``max_response``) -> name of a run, which is a file in
            ``conf/experiment/<table>``, or `MAX_RESPONSE`. The first run's configuration sets M and N of the test.
        selections: selection methods; names of files in ``conf/selection``.
        fusion: names of the two evaluations that are fused; a fusion has no roles.
    """

    roles: Mapping[str, str] = field(default_factory=dict)
    selections: tuple[str, ...] = ()
    fusion: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: the paper's name for the row, as in ``dsn_lightning.paper``.
        evaluation: name of the evaluation that it is read from; None for a row of the literature.
        selection: the selection method whose results it shows.
        classifier: whose classifier scores the clips, ``baseline`` or ``dsn``.
        M: sections in the test, where the evaluation has several numbers of them.
        extra: purpose of a row that the paper does not have; empty for the paper's rows.
    """

    name: str
    evaluation: str | None = None
    selection: str = ""
    classifier: str = "baseline"
    M: int | None = None
    extra: str = ""


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper, or the table behind a figure.

    Attributes:
        name: folder in ``conf/experiment``, such as table1 or fig4.
        title: one line.
        datasets: data set -> metrics shown (top1, top5, map), in the paper's order.
        rows: in the paper's order.
        evaluations: name -> evaluation.
        number: number in ``dsn_lightning.paper``; None if the paper prints no figures.
        splits: splits that results are averaged over; empty for the one of ``dataset.split``.
        notes: lines below the table.
        why_not_run: what the paper's own setting needs and we do not have.
        compared: evaluations whose methods are compared over the seeds, the main one first.
    """

    name: str
    title: str
    datasets: Mapping[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    evaluations: Mapping[str, PlannedEvaluation]
    number: int | None = None
    splits: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    why_not_run: str = ""
    compared: tuple[str, ...] = ()

    @property
    def measured_rows(self) -> list[Row]:
        """The rows that are run here; those of the literature are left out."""
        return [row for row in self.rows if row.evaluation]

    def runs(self) -> list[str]:
        """Return the names of all runs, each once."""
        names = (run for evaluation in self.evaluations.values() for run in evaluation.roles.values())
        return list(dict.fromkeys(name for name in names if name != MAX_RESPONSE))

    def streams_of(self, row: Row) -> tuple[str, ...]:
        """Return the evaluations behind a row: its evaluation, or the two that are fused in it."""
        name = str(row.evaluation)
        return self.evaluations[name].fusion or (name,)

    def runs_of(self, row: Row, evaluation: str) -> list[str]:
        """Return the runs of an evaluation that a row needs."""
        roles = self.evaluations[evaluation].roles
        needed = ("checkpoint" if name == "dsn" else name for name in sorted({row.classifier, row.selection}))
        return [roles[role] for role in needed if role in roles] or list(roles.values())

    def main_run(self, evaluation: str) -> str:
        """Return the run whose configuration sets M and N of an evaluation, which is no fusion."""
        return next(iter(self.evaluations[evaluation].roles.values()))
