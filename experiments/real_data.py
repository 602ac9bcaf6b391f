"""Table I on real videos with small networks.

    python experiments/real_data.py --weights PATH --hmdb51 DIR --activitynet DIR [--seeds 0] [--jobs 2] [--output DIR]

Trains, for each data set and seed, the four networks that Table I needs (equal numbers of updates for all classifiers),
evaluates the seven methods, and writes tables.md, results.json, results.csv and environment.json. HMDB51 is split 1
with 1:3 clips, ActivityNet 6:3 (the paper's schemes).

With --weights (torchvision's ImageNet weights of MobileNetV2, or "imagenet", which downloads them) these are
MobileNetV2 as conf/experiment/mobilenet_v2 has it, on RGB. Without, they are the demo's tiny networks from scratch, on
8 frames of 32x32 pixels, as RGB, as flow and as two streams of equal weights; the flow is computed first: dsn-prepare
steps=[check,flow].
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from rich.console import Console

from demo import configured, jobs_of
from dsn_lightning.launch.jobs import Job, run_jobs, start_server
from reproduce.commands import quoted

SCHEMES = {"hmdb51": (1, 3), "activitynet": (6, 3)}


def jobs_for(dataset: str, root: Path, seed: int, output: Path, weights: str | None) -> list[Job]:
    sections, clips = SCHEMES[dataset]
    common = [f"dataset={dataset}", f"dataset.root='{root.absolute()}'", f"M={sections}", f"N={clips}"]
    if weights is not None:
        if dataset == "hmdb51":
            common.append("dataset.fps=null")  # its clips are too short for 10 frames a second
        file = weights if weights == "imagenet" else Path(weights).absolute()
        common.append(f"weights='{file}'")
        folder = output / dataset / f"seed{seed}_rgb"
        return jobs_of(f"{dataset} {seed}", seed, common, folder, rows="mobilenet_v2")
    common.append("dataset.reading.cache_frames=true")
    folders = {modality: output / dataset / f"seed{seed}_{modality}" for modality in ("rgb", "flow")}
    jobs = []
    for modality, folder in folders.items():
        jobs += jobs_of(f"{dataset} {modality} {seed}", seed, [*common, f"dataset.modality={modality}"], folder)
    fused = output / dataset / f"seed{seed}_fused"
    streams = ",".join(quoted(folder / "evaluate") for folder in folders.values())
    own = [f"fusion=[{streams}]", f"run_dir={quoted(fused)}"]
    after = [f"{dataset} {modality} {seed} evaluate" for modality in folders]
    return [*jobs, Job(f"{dataset} fused {seed}", configured, ("evaluate", own), fused, after)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for dataset in SCHEMES:
        parser.add_argument(f"--{dataset}", type=Path, help=f"root of {dataset}")
    parser.add_argument("--weights", help="ImageNet weights of MobileNetV2; without, the tiny networks")
    parser.add_argument("--seeds", default="0", help="comma-separated (default: 0)")
    parser.add_argument("--output", type=Path, default=Path("outputs/real_data"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings at the same time")
    arguments = parser.parse_args()
    roots = {name: getattr(arguments, name) for name in SCHEMES if getattr(arguments, name) is not None}
    if not roots:
        parser.error("give at least one of --hmdb51 and --activitynet")
    console = Console(width=None if sys.stdout.isatty() else 150)
    output = arguments.output.absolute()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    start_server(at_once=arguments.jobs)
    began = time.monotonic()
    jobs = [
        job
        for seed in seeds
        for name, root in roots.items()
        for job in jobs_for(name, root, seed, output, arguments.weights)
    ]
    failed = run_jobs(jobs, at_once=arguments.jobs, console=console)
    if failed:
        console.print("not finished: " + ", ".join(f"{job.name} ({job.state})" for job in failed))
        return 1

    from dsn_lightning.commands.run import environment, write_json
    from dsn_lightning.evaluation.results import Row, markdown_table, rich_table, to_csv
    from dsn_lightning.files import write_atomically

    rows: list[Row] = []
    text = ""
    for name in roots:
        for kind in ("rgb/evaluate", "flow/evaluate", "fused") if arguments.weights is None else ("rgb/evaluate",):
            own: list[Row] = []
            for seed in seeds:
                own += json.loads((output / name / f"seed{seed}_{kind}" / "results.json").read_text())
            title = f"{name}, {kind.split('/')[0]}, seeds {arguments.seeds} (rates in %)"
            console.print(rich_table(own, title=title))
            text += f"{title}\n\n{markdown_table(own)}\n"
            rows += own
    write_json(output / "results.json", rows)
    write_atomically(output / "results.csv", to_csv(rows))
    write_atomically(output / "tables.md", text)
    minutes = {job.name: round(job.seconds / 60, 1) for job in jobs}
    total = round((time.monotonic() - began) / 60, 1)
    write_json(output / "environment.json", environment(seeds=seeds, minutes=total, minutes_of_jobs=minutes))
    console.print(f"written: {output}/tables.md, results.json, results.csv, environment.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
