"""Fig. 4: selection methods over M = 1 to 10 clips, from one training and one pass over the test videos.

    python experiments/fig4.py dataset=ucf101|hmdb51|thumos14|activitynet dataset.root=DIR [seeds=0,1,2] [--dry-run]

The trainings are those of Table I. Writes OUTPUT/fig4/<dataset>.png besides the table. More arguments: --help.
"""

import sys

from rich.console import Console

from dsn_lightning.evaluation.figures import clips_figure
from reproduce.paper_table import MAX_RESPONSE, PaperTable, PlannedEvaluation, Row
from reproduce.table_records import METRICS
from reproduce.tables import FinishedTable, main

METHODS = {
    "Baseline (random)": ("random", "baseline"),
    "Baseline (uniform)": ("uniform", "baseline"),
    "Max response": ("max_response", "baseline"),
    "DSN": ("dsn", "dsn"),
}

TABLE = PaperTable(
    name="fig4",
    title="Fig. 4: selection methods by number of clips",
    datasets={"ucf101": ("top1",), "hmdb51": ("top1",), "thumos14": ("map",), "activitynet": ("top1",)},
    evaluations={
        "methods": PlannedEvaluation(
            {"checkpoint": "dsn", "baseline": "baseline", "max_response": MAX_RESPONSE},
            ("random", "uniform", "max_response", "dsn"),
        ),
    },
    rows=tuple(
        Row(f"{name}, {m} clip{'s' if m > 1 else ''}", "methods", *method, m)
        for name, method in METHODS.items()
        for m in range(1, 11)
    ),
    notes=("The paper shows curves without figures; its Table I gives the figures for M as in training.",),
    why_not_run="needs Kinetics weights and the complete data set",
    compared=("methods",),
)


def draw(finished: FinishedTable, console: Console) -> None:
    """Draw the curves that were measured."""
    curves: dict[str, list[tuple[int, float, float | None]]] = {}
    for row, record in zip(TABLE.rows, finished.records, strict=True):
        if record.mean is not None and row.M is not None:
            curves.setdefault(row.selection, []).append((row.M, record.mean, record.spread))
    if curves:
        first = finished.records[0]
        path = finished.folder / f"{first.dataset}.png"
        clips_figure(curves, path, metric=METRICS[first.metric], title=first.dataset)
        console.print(f"written: {path}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(TABLE, draw=draw))
