"""Table I on the embedded data set, from nothing: `make demo`.

    python experiments/demo.py [--seeds 0,1,2] [--dataset needle|needle_everywhere] [--output DIR] [--jobs 2]
        [--placement starts|frames]

Trains, for each seed, the four networks that Table I needs (baseline, max-response network, DSN-f, DSN), all
classifiers with equal numbers of updates. Evaluates the seven methods and writes the table, results.json, results.csv
and figures, then asks the first DSN about six test videos. The embedded data set is made once; the networks are trained
anew in each call.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console

from dsn_lightning.launch.jobs import run_jobs, start_server
from dsn_lightning.runs.environment import environment
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.video.sections import Placement
from dsn_lightning.video.time_line import Video
from reproduce.configurations import PRELOAD, build_datamodule, settings_of
from reproduce.table1_jobs import table1_jobs

NUM_ANSWERS = 6
"""Videos that dsn-predict is asked about."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0", help="comma-separated (default: 0)")
    parser.add_argument("--dataset", default="needle", choices=["needle", "needle_everywhere"])
    parser.add_argument("--placement", default="starts", choices=get_args(Placement), help="of clips (default: starts)")
    parser.add_argument("--output", type=Path, default=Path("outputs/demo"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="number of trainings at the same time")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 130)
    try:
        seeds = [int(seed) for seed in arguments.seeds.split(",")]
    except ValueError:
        parser.error(f"--seeds {arguments.seeds}: expected whole numbers separated by commas")
    output = arguments.output.absolute()
    start_server(at_once=arguments.jobs, preload=PRELOAD)  # imports the package while this process does the same
    data = build_datamodule(settings_of(f"dataset={arguments.dataset}", "run_dir=unused"))
    data.prepare_data()
    data.setup()
    overrides = [f"dataset={arguments.dataset}", f"dataset.reading.placement={arguments.placement}"]
    jobs = [
        job
        for seed in seeds
        for job in table1_jobs(f"seed {seed}", seed, overrides, output / f"seed{seed}", rows="demo")
    ]
    failed = run_jobs(jobs, at_once=max(1, min(arguments.jobs, len(jobs))), console=console, preload=PRELOAD)
    if failed:
        console.print("not finished: " + ", ".join(f"{job.name} ({job.state})" for job in failed))
        return 1
    _write_results(output, seeds, arguments.dataset, console)
    return _predict(output, seeds[0], data.videos("test")[:NUM_ANSWERS], console)


def _predict(output: Path, seed: int, videos: Sequence[Video], console: Console) -> int:
    """Let dsn-predict answer for some videos, and copy its pictures beside the results; return its exit code."""
    answers = output / "answers"
    shutil.rmtree(answers, ignore_errors=True)  # of the networks of an earlier call
    program = "from dsn_lightning.cli.predict import main; main()"
    files = ",".join(str(video.file) for video in videos)
    arguments = [f"checkpoint={output}/seed{seed}/dsn", f"videos=[{files}]", f"output={answers}"]
    code = subprocess.run([sys.executable, "-c", program, *arguments], check=False).returncode
    for number, picture in enumerate(sorted((answers / "pictures").glob("*.png")), start=1):
        shutil.copy(picture, output / f"answer_{number}.png")
    console.print(f"written: {output}/answer_*.png, {answers}/index.html")
    return code


def _write_results(output: Path, seeds: Sequence[int], dataset: str, console: Console) -> None:
    """Write results, environment and figures of all seeds, and print the table."""
    from dsn_lightning.evaluation.figures import cost_figure  # these import torch's and matplotlib's parts
    from dsn_lightning.evaluation.results import FIELDS, Row, results_table
    from dsn_lightning.files import write_atomically, write_json
    from dsn_lightning.text_tables import csv_text

    rows: list[Row] = []
    for seed in seeds:
        rows += json.loads(RunFolder(output / f"seed{seed}" / "evaluate").results_json.read_text())
    write_json(output / "results.json", rows)
    write_atomically(output / "results.csv", csv_text(rows, FIELDS))
    write_json(output / "environment.json", environment(seeds=list(seeds)))
    cost_figure(rows, output / "accuracy_vs_gmacs.png")
    listed = ",".join(map(str, seeds))
    spread = f", mean ± standard deviation over seeds {listed}" if len(seeds) > 1 else f", seed {listed}"
    results_table(rows, title=f"Table I on {dataset} (rates in %{spread})").print(console)
    console.print(f"written: {output}/results.json, results.csv, accuracy_vs_gmacs.png")


if __name__ == "__main__":
    sys.exit(main())
