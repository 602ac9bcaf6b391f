"""Table IV: mAP on THUMOS14 against multiply-adds; trained on the training and the validation set.

    python experiments/table4.py dataset.root=DIR dataset.ucf101_root=DIR [seeds=0,1,2] [--dry-run]

More arguments: --help. The cost columns alone: dsn-cost table=4.
"""

import sys

from reproduce.paper_table import PaperTable, PlannedEvaluation, Row
from reproduce.tables import main

BASELINES = {"R3D & TSN (S = 3)": "r3d_tsn_3", "R(2+1)D": "r2plus1d"}
DSN = {
    "R3D & DSN (M = 3)": "r3d_dsn_3",
    "R(2+1)D & DSN (M = 1)": "r2plus1d_dsn",
}

TABLE = PaperTable(
    name="table4",
    number=4,
    title="Table IV: mAP and multiply-adds, THUMOS14",
    datasets={"thumos14": ("map",)},
    evaluations={
        **{run: PlannedEvaluation({"baseline": run}, ("dense",)) for run in BASELINES.values()},
        **{run: PlannedEvaluation({"checkpoint": run}, ("dsn",)) for run in DSN.values()},
    },
    rows=(
        Row("R3D & TSN (S = 3)", "r3d_tsn_3", "dense"),
        Row("R3D & DSN (M = 3)", "r3d_dsn_3", "dsn", "dsn"),
        Row("R(2+1)D", "r2plus1d", "dense"),
        Row("R(2+1)D & DSN (M = 1)", "r2plus1d_dsn", "dsn", "dsn"),
    ),
    notes=(
        "Tested with 6:3. Table V of the paper gives the same 73.6 and 75.2 for training with M = 6, which Sec. V-D "
        "supports. The rows here are trained with M = 3, as Table IV says.",
    ),
    why_not_run="needs Kinetics weights, the complete data set and GPUs for R(2+1)D-34",
    compared=("r3d_dsn_3", "r3d_tsn_3", "r2plus1d_dsn", "r2plus1d"),
)


if __name__ == "__main__":
    sys.exit(main(TABLE))
