"""The inputs and outputs of one evaluation that loggers need."""

from collections.abc import Sequence
from dataclasses import dataclass

from dsn_lightning.consensus import Consensus
from dsn_lightning.datasets.records import Subset
from dsn_lightning.evaluation.answers import figures_of, row_figures
from dsn_lightning.evaluation.results import Row
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.selections import Scheme, Selection, Uniform
from dsn_lightning.video.clip_reader import ClipReader
from dsn_lightning.video.time_line import Video


def prefix_of(subset: Subset) -> str:
    """Return the first part of the names of a test's figures: ``test``, or ``held_out``."""
    return "test" if subset == "test" else "held_out"


@dataclass(frozen=True)
class EvaluationDetails:
    """An evaluation's results, with everything they were computed from."""

    rows: Sequence[Row]  #: rows of results
    scores: ClipScores  #: scores of all videos
    selections: Sequence[Selection]
    schemes: Sequence[Scheme]  #: the M:N of each test; clips and confusions are shown for the first
    consensus: Consensus  #: how clips were averaged (Eq. 4)
    videos: Sequence[Video]
    reader: ClipReader
    role: str  #: name of the run's network; the selection method of this name is shown in detail
    step: int  #: batches seen in training, for the axes
    subset: Subset = "test"  #: ``test``, or ``val`` for videos held out of training

    @property
    def prefix(self) -> str:
        """First part of the figures' names."""
        return prefix_of(self.subset)

    def figures(self) -> dict[str, float]:
        """Return the rows' figures by name, see `row_figures`, and those of the main row also as ``test/top1``."""
        main_classifiers = {selection.name: selection.classifiers[0] for selection in self.selections}
        figures = row_figures(self.rows, main_classifiers, prefix=self.prefix)
        return {f"{self.prefix}/{name}": value for name, value in figures_of(self.main_row()).items()} | figures

    def main_row(self) -> Row:
        """Return the row of the run's main method at the M that it was trained with, else at the first M tested."""
        selection, classifier = self.main()
        rows = [row for row in self.rows if (row["selection"], row["classifier"]) == (selection.name, classifier)]
        return next((row for row in rows if row["M"] == row["train_M"]), rows[0])

    def main(self) -> tuple[Selection, str]:
        """Return the run's main method with its classifier: that of its sampler, else uniform clips."""
        evaluated = {(row["selection"], row["classifier"]) for row in self.rows}
        by_name = {selection.name: selection for selection in self.selections}
        for name in (self.role, Uniform.name, *by_name):
            for classifier in by_name[name].classifiers if name in by_name else ():
                if (name, classifier) in evaluated:
                    return by_name[name], classifier
        raise AssertionError("an evaluation has rows")
