"""Table II: sampling schemes M:N in training; tested with M = 3 and the same N.

    python experiments/table2.py dataset=ucf101|hmdb51 dataset.root=DIR [seeds=0,1,2] [--dry-run]

More arguments: --help.
"""

import sys

from reproduce.paper_table import PaperTable, PlannedEvaluation, Row
from reproduce.tables import main

SCHEMES = {"1:3": "1x3", "1:6": "1x6", "3:3": "3x3"}

TABLE = PaperTable(
    name="table2",
    number=2,
    title="Table II: sampling schemes in training",
    datasets={"ucf101": ("top1", "top5"), "hmdb51": ("top1", "top5")},
    evaluations={
        f"trained_{file}": PlannedEvaluation({"checkpoint": f"dsn_{file}"}, ("dsn",)) for file in SCHEMES.values()
    },
    rows=tuple(Row(scheme, f"trained_{file}", "dsn", "dsn") for scheme, file in SCHEMES.items()),
    notes=("In the differences between methods, dsn without a prefix was trained with 3:3.",),
    compared=("trained_3x3", "trained_1x3", "trained_1x6"),
    why_not_run="needs Kinetics weights and the complete data set",
)


if __name__ == "__main__":
    sys.exit(main(TABLE))
