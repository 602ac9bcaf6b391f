"""One evaluation, with all that it came from: what is shown of it elsewhere is made of this."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dsn_lightning.datasets.records import Subset
from dsn_lightning.evaluation.answers import row_figures
from dsn_lightning.evaluation.results import Row
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.selections.scheme import Scheme, Selection
from dsn_lightning.video.clip_reader import ClipReader, Video


@dataclass(frozen=True)
class EvaluationDetails:
    """What came out of an evaluation, with all that it came from.

    Attributes:
        rows: of the results.
        scores: of all videos.
        selections: the methods.
        schemes: the M:N of each test; clips are shown and confusions counted for the first.
        consensus: how clips were averaged (Eq. 4).
        videos: the videos.
        reader: reads their clips.
        role: ``dsn``, ``baseline`` or ``dsn_fixed``, whose own selection is shown in detail.
        step: of the training, for the axes.
        subset: ``test``, or ``val`` for videos held out of training.
    """

    rows: Sequence[Row]
    scores: ClipScores
    selections: Sequence[Selection]
    schemes: Sequence[Scheme]
    consensus: Any
    videos: Sequence[Video]
    reader: ClipReader
    role: str
    step: int
    subset: Subset = "test"

    @property
    def prefix(self) -> str:
        """What the names of its figures begin with."""
        return "test" if self.subset == "test" else "held_out"

    def figures(self) -> dict[str, float]:
        """Return the rows' figures by name; see `row_figures`."""
        own = {selection.name: selection.classifiers[0] for selection in self.selections}
        return row_figures(self.rows, own, prefix=self.prefix)

    def main(self) -> tuple[Selection, str]:
        """Return the method, and its classifier, that the run stands for: its sampler's, or uniform clips."""
        found = {(row["selection"], row["classifier"]) for row in self.rows}
        by_name = {selection.name: selection for selection in self.selections}
        for name in (self.role, "uniform", *by_name):
            for classifier in by_name[name].classifiers if name in by_name else ():
                if (name, classifier) in found:
                    return by_name[name], classifier
        raise AssertionError("an evaluation has rows")
