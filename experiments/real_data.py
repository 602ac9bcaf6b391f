"""Table I on real videos with small networks.

    python experiments/real_data.py --weights PATH --hmdb51 DIR --activitynet DIR [--seeds 0] [--jobs 2] [--output DIR]
        [--placement starts|frames]

Trains, for each data set and seed, the four networks that Table I needs (equal numbers of updates for all classifiers),
evaluates the seven methods, and writes tables.md, results.json, results.csv and environment.json. HMDB51 is split 1
with 1:3 clips, ActivityNet 6:3 (the paper's schemes).

With --weights (torchvision's ImageNet weights of MobileNetV2, or "imagenet", which downloads them) the networks are
MobileNetV2 as in conf/experiment/mobilenet_v2, on RGB. Without, they are the demo's tiny networks from scratch, on
8 frames of 32x32 pixels, as RGB, as flow and as two streams of equal weights; compute the flow first: dsn-prepare
steps=[check,flow].
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console

from dsn_lightning.files import write_atomically, write_json
from dsn_lightning.launch.jobs import Job, run_jobs, start_server
from dsn_lightning.runs.environment import environment
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.video.sections import Placement
from reproduce.commands import quoted
from reproduce.configurations import PRELOAD
from reproduce.table1_jobs import run_configured, table1_jobs

SCHEMES = {"hmdb51": (1, 3), "activitynet": (6, 3)}


def jobs_for(
    dataset: str, root: Path, seed: int, output: Path, *, weights: str | None, placement: Placement
) -> list[Job]:
    sections, clips = SCHEMES[dataset]
    common = [f"dataset={dataset}", f"dataset.root='{root.absolute()}'", f"M={sections}", f"N={clips}"]
    common.append(f"dataset.reading.placement={placement}")
    if weights is not None:
        if dataset == "hmdb51":
            common.append("dataset.fps=null")  # its clips are too short for 10 frames a second
        file = weights if weights == "imagenet" else Path(weights).absolute()
        common.append(f"weights='{file}'")
        folder = output / dataset / f"seed{seed}_rgb"
        return table1_jobs(f"{dataset} {seed}", seed, common, folder, rows="mobilenet_v2")
    common.append("dataset.reading.cache_frames=true")
    folders = {modality: output / dataset / f"seed{seed}_{modality}" for modality in ("rgb", "flow")}
    jobs = []
    for modality, folder in folders.items():
        overrides = [*common, f"dataset.modality={modality}"]
        jobs += table1_jobs(f"{dataset} {modality} {seed}", seed, overrides, folder, rows="demo")
    fused = output / dataset / f"seed{seed}_fused"
    streams = ",".join(quoted(folder / "evaluate") for folder in folders.values())
    arguments = [f"fusion=[{streams}]", f"run_dir={quoted(fused)}"]
    after = [f"{dataset} {modality} {seed} evaluate" for modality in folders]
    return [*jobs, Job(f"{dataset} fused {seed}", run_configured, ("evaluate", arguments), fused, after)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for dataset in SCHEMES:
        parser.add_argument(f"--{dataset}", type=Path, help=f"root of {dataset}")
    parser.add_argument("--weights", help="ImageNet weights of MobileNetV2; without, the tiny networks are used")
    parser.add_argument("--seeds", default="0", help="comma-separated (default: 0)")
    parser.add_argument("--placement", default="starts", choices=get_args(Placement), help="of clips (default: starts)")
    parser.add_argument("--output", type=Path, default=Path("outputs/real_data"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="number of trainings at the same time")
    arguments = parser.parse_args()
    roots = {name: getattr(arguments, name) for name in SCHEMES if getattr(arguments, name) is not None}
    if not roots:
        parser.error("needs at least one of --hmdb51 and --activitynet")
    console = Console(width=None if sys.stdout.isatty() else 150)
    output = arguments.output.absolute()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    start_server(at_once=arguments.jobs, preload=PRELOAD)
    began = time.monotonic()
    jobs = [
        job
        for seed in seeds
        for name, root in roots.items()
        for job in jobs_for(name, root, seed, output, weights=arguments.weights, placement=arguments.placement)
    ]
    failed = run_jobs(jobs, at_once=arguments.jobs, console=console, preload=PRELOAD)
    if failed:
        console.print("not finished: " + ", ".join(f"{job.name} ({job.state})" for job in failed))
        return 1
    kinds = ("rgb/evaluate", "flow/evaluate", "fused") if arguments.weights is None else ("rgb/evaluate",)
    _write_results(output, [(name, kind) for name in roots for kind in kinds], seeds, console)
    minutes = {job.name: round(job.seconds / 60, 1) for job in jobs}
    total = round((time.monotonic() - began) / 60, 1)
    write_json(output / "environment.json", environment(seeds=seeds, minutes=total, minutes_of_jobs=minutes))
    console.print(f"written: {output}/tables.md, results.json, results.csv, environment.json")
    return 0


def _write_results(
    output: Path, evaluations: Sequence[tuple[str, str]], seeds: Sequence[int], console: Console
) -> None:
    """Print and write a table for each data set and kind of evaluation, and the rows of all."""
    from dsn_lightning.evaluation.results import FIELDS, Row, results_table
    from dsn_lightning.text_tables import csv_text

    rows: list[Row] = []
    text = ""
    for name, kind in evaluations:
        files = [RunFolder(output / name / f"seed{seed}_{kind}").results_json for seed in seeds]
        found: list[Row] = [row for file in files for row in json.loads(file.read_text())]
        title = f"{name}, {kind.split('/')[0]}, seeds {','.join(map(str, seeds))} (rates in %)"
        table = results_table(found, title=title)
        table.print(console)
        text += f"{title}\n\n{table.markdown()}\n"
        rows += found
    write_json(output / "results.json", rows)
    write_atomically(output / "results.csv", csv_text(rows, FIELDS))
    write_atomically(output / "tables.md", text)


if __name__ == "__main__":
    sys.exit(main())
