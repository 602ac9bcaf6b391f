"""Table V: THUMOS14, RGB, flow and both; trained on the training and the validation set.

    python experiments/table5.py dataset.root=DIR dataset.ucf101_root=DIR [seeds=0,1,2] [--dry-run]

Compute the flow first: dsn-prepare steps=[check,flow]. fusion_weights=[1,1.5] weights RGB and flow. More arguments:
--help.
"""

import sys

from dsn_lightning.paper import literature
from reproduce.paper_table import PaperTable, PlannedEvaluation, Row
from reproduce.tables import TWO_STREAMS, main

TABLE = PaperTable(
    name="table5",
    number=5,
    title="Table V: THUMOS14",
    datasets={"thumos14": ("map",)},
    evaluations={
        "r3d_tsn_6": PlannedEvaluation({"baseline": "r3d_tsn_6"}, ("dense",)),
        "r3d_dsn_6": PlannedEvaluation({"checkpoint": "r3d_dsn_6"}, ("dsn",)),
        "r2plus1d": PlannedEvaluation({"baseline": "r2plus1d"}, ("dense",)),
        "r2plus1d_flow": PlannedEvaluation({"baseline": "r2plus1d_flow"}, ("dense",)),
        "r2plus1d_both": PlannedEvaluation(selections=("dense",), fusion=("r2plus1d", "r2plus1d_flow")),
        "r2plus1d_dsn": PlannedEvaluation({"checkpoint": "r2plus1d_dsn"}, ("dsn",)),
        "r2plus1d_dsn_flow": PlannedEvaluation({"checkpoint": "r2plus1d_dsn_flow"}, ("dsn",)),
        "r2plus1d_dsn_both": PlannedEvaluation(selections=("dsn",), fusion=("r2plus1d_dsn", "r2plus1d_dsn_flow")),
    },
    rows=(
        *(Row(name) for name in literature(5)),
        Row("R3D-RGB & TSN (6 seg)", "r3d_tsn_6", "dense"),
        Row("R3D-RGB & DSN (M = 6)", "r3d_dsn_6", "dsn", "dsn"),
        Row("R(2+1)D, RGB", "r2plus1d", "dense"),
        Row("R(2+1)D, FLOW", "r2plus1d_flow", "dense"),
        Row("R(2+1)D, RGB+FLOW", "r2plus1d_both", "dense"),
        Row("R(2+1)D & DSN (M = 1), RGB", "r2plus1d_dsn", "dsn", "dsn"),
        Row("R(2+1)D & DSN (M = 1), FLOW", "r2plus1d_dsn_flow", "dsn", "dsn"),
        Row("R(2+1)D & DSN (M = 1), RGB+FLOW", "r2plus1d_dsn_both", "dsn", "dsn"),
    ),
    notes=("Tested with 6:3. Rows of the literature are quoted from the paper and were not run.",),
    compared=TWO_STREAMS,
    why_not_run="needs Kinetics weights, the videos of THUMOS14 and GPUs for R(2+1)D-34",
)


if __name__ == "__main__":
    sys.exit(main(TABLE))
