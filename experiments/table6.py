"""Table VI: ActivityNet v1.3, RGB, flow and both, tested with 6:3 and 10:3.

    python experiments/table6.py dataset.root=DIR [seeds=0,1,2] [--dry-run]

Compute the flow first: dsn-prepare steps=[check,flow]. fusion_weights=[1,1.5] weights RGB and flow. More arguments:
--help.
"""

import sys

from dsn_lightning.paper import literature
from reproduce.paper_table import PaperTable, PlannedEvaluation, Row
from reproduce.tables import TWO_STREAMS, main

STREAMS = {"RGB": "r2plus1d{}", "FLOW": "r2plus1d{}_flow", "RGB+FLOW": "r2plus1d{}_both"}

TABLE = PaperTable(
    name="table6",
    number=6,
    title="Table VI: ActivityNet v1.3, validation videos",
    datasets={"activitynet": ("top1", "map")},
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
        *(Row(name) for name in literature(6)),
        Row("R3D-RGB & TSN (6 seg)", "r3d_tsn_6", "dense"),
        Row("R3D-RGB & DSN (M = 6), 6 clips", "r3d_dsn_6", "dsn", "dsn", 6),
        Row("R3D-RGB & DSN (M = 6), 10 clips", "r3d_dsn_6", "dsn", "dsn", 10),
        *(Row(f"R(2+1)D-{stream}", run.format(""), "dense") for stream, run in STREAMS.items()),
        *(
            Row(f"R(2+1)D-{stream} & DSN (M = 1), {m} clips", run.format("_dsn"), "dsn", "dsn", m)
            for m in (6, 10)
            for stream, run in STREAMS.items()
        ),
    ),
    notes=(
        "Rows of the literature are quoted from the paper and were not run.",
        "The paper gives R3D with 20 clips 65.6 in this table and 67.5 in Table I.",
    ),
    compared=TWO_STREAMS,
    why_not_run="needs Kinetics weights, the complete data set and GPUs for R(2+1)D-34",
)


if __name__ == "__main__":
    sys.exit(main(TABLE))
