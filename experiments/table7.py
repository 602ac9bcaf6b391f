"""Table VII: UCF101 and HMDB51, RGB, the mean over the three official splits.

    python experiments/table7.py dataset=ucf101|hmdb51 dataset.root=DIR [seeds=0,1,2] [--dry-run]

More arguments: --help.
"""

import sys

from dsn_lightning.paper import literature
from reproduce.paper_table import PaperTable, PlannedEvaluation, Row
from reproduce.tables import main

OTHERS = list(literature(7))

TABLE = PaperTable(
    name="table7",
    number=7,
    title="Table VII: the mean over the three official splits",
    datasets={"ucf101": ("top1",), "hmdb51": ("top1",)},
    splits=(1, 2, 3),
    evaluations={
        "r3d": PlannedEvaluation({"baseline": "r3d"}, ("dense",)),
        "r3d_dsn_1": PlannedEvaluation({"checkpoint": "r3d_dsn_1"}, ("dsn",)),
        "r3d_dsn_3": PlannedEvaluation({"checkpoint": "r3d_dsn_3"}, ("dsn",)),
        "r2plus1d": PlannedEvaluation({"baseline": "r2plus1d"}, ("dense",)),
        "r2plus1d_dsn": PlannedEvaluation({"checkpoint": "r2plus1d_dsn"}, ("dsn",)),
    },
    rows=(
        *(Row(name) for name in OTHERS[:-1]),
        Row("R3D-RGB", "r3d", "dense"),
        Row("R3D-RGB & DSN (M = 1)", "r3d_dsn_1", "dsn", "dsn"),
        Row("R3D-RGB & DSN (M = 3)", "r3d_dsn_3", "dsn", "dsn"),
        Row(OTHERS[-1]),  # R(2+1)D-RGB [7]: the paper lists it among its own rows
        Row("R(2+1)D-RGB (ours)", "r2plus1d", "dense"),
        Row("R(2+1)D-RGB & DSN (M = 1)", "r2plus1d_dsn", "dsn", "dsn"),
    ),
    notes=(
        "M in a row's name is M in training; the test uses 4:3 (M = 1) and 3:3 (M = 3).",
        "Rows of the literature are quoted from the paper and were not run.",
    ),
    why_not_run="needs Kinetics weights, the complete data sets and GPUs for R(2+1)D-34",
    compared=("r3d_dsn_3", "r3d_dsn_1", "r3d", "r2plus1d_dsn", "r2plus1d"),
)


if __name__ == "__main__":
    sys.exit(main(TABLE))
