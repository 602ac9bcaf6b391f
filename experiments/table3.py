"""Table III: accuracy on HMDB51 against multiply-adds.

    python experiments/table3.py dataset.root=DIR [seeds=0,1,2] [--dry-run]

More arguments: --help. The cost columns alone: dsn-cost table=3.
"""

import sys

from reproduce.paper_table import PaperTable, PlannedEvaluation, Row
from reproduce.tables import main

BASELINES = {"R3D": "r3d", "R(2+1)D": "r2plus1d"}
DSN = {
    "R3D & DSN (M = 1)": "r3d_dsn_1",
    "R3D & DSN (M = 3)": "r3d_dsn_3",
    "R(2+1)D & DSN (M = 1)": "r2plus1d_dsn",
}

TABLE = PaperTable(
    name="table3",
    number=3,
    title="Table III: accuracy and multiply-adds, HMDB51 split 1",
    datasets={"hmdb51": ("top1",)},
    evaluations={
        **{run: PlannedEvaluation({"baseline": run}, ("dense",)) for run in BASELINES.values()},
        **{run: PlannedEvaluation({"checkpoint": run}, ("dsn",)) for run in DSN.values()},
    },
    rows=(
        Row("R3D", "r3d", "dense"),
        Row("R3D & DSN (M = 1)", "r3d_dsn_1", "dsn", "dsn"),
        Row("R3D & DSN (M = 3)", "r3d_dsn_3", "dsn", "dsn"),
        Row("R(2+1)D", "r2plus1d", "dense"),
        Row("R(2+1)D & DSN (M = 1)", "r2plus1d_dsn", "dsn", "dsn"),
    ),
    notes=("M in a row's name is M in training; the test uses 4:3 (M = 1) and 3:3 (M = 3).",),
    why_not_run="needs Kinetics weights, the complete data set and GPUs for R(2+1)D-34",
    compared=("r3d_dsn_3", "r3d_dsn_1", "r3d", "r2plus1d_dsn", "r2plus1d"),
)


if __name__ == "__main__":
    sys.exit(main(TABLE))
