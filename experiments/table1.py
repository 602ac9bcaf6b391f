"""Table I: seven methods on one data set, and rows that separate the classifier's effect from the sampler's.

    python experiments/table1.py dataset=ucf101|hmdb51|thumos14|activitynet dataset.root=DIR [seeds=0,1,2] [--dry-run]

Each call runs one data set; the printed table shows all data sets that are finished. More arguments: --help.
"""

import sys

from reproduce.paper_table import MAX_RESPONSE, PaperTable, PlannedEvaluation, Row
from reproduce.tables import main

TABLE = PaperTable(
    name="table1",
    number=1,
    title="Table I: selection methods; tested as trained, with 1:3 on trimmed and 6:3 on untrimmed videos",
    datasets={"ucf101": ("top1",), "hmdb51": ("top1",), "thumos14": ("map",), "activitynet": ("top1",)},
    evaluations={
        "methods": PlannedEvaluation(
            {"checkpoint": "dsn", "baseline": "baseline", "dsn_fixed": "dsn_fixed", "max_response": MAX_RESPONSE},
            ("random", "uniform", "max_response", "dsn_fixed", "dsn", "dense", "oracle", "oracle_video"),
        ),
        "control": PlannedEvaluation({"checkpoint": "control"}, ("uniform",)),
    },
    rows=(
        Row("Baseline (random)", "methods", "random"),
        Row("Baseline (uniform)", "methods", "uniform"),
        Row("Max response", "methods", "max_response"),
        Row("DSN-f", "methods", "dsn_fixed"),
        Row("DSN", "methods", "dsn", "dsn"),
        Row("Dense sampling", "methods", "dense"),
        Row("Oracle sampling", "methods", "oracle"),
        Row("Oracle over videos", "methods", "oracle_video", extra="right if any candidate clip is"),
        Row("DSN's clips, baseline's classifier", "methods", "dsn", extra="effect of DSN's sampler alone"),
        Row("Uniform, DSN's classifier", "methods", "uniform", "dsn", extra="effect of DSN's classifier alone"),
        Row(
            "Uniform, control's classifier",
            "control",
            "uniform",
            "dsn",
            extra="trained in the same loop with as many updates as DSN's classifier, all on random clips",
        ),
    ),
    why_not_run="needs Kinetics weights and the complete data set",
    compared=("methods", "control"),
)


if __name__ == "__main__":
    sys.exit(main(TABLE))
