"""Table I on the embedded data set, from nothing: `make demo`.

    python experiments/demo.py [--seeds 0,1,2] [--dataset needle|needle_everywhere] [--output DIR] [--jobs 2]

Trains, for each seed, the four networks that Table I needs (baseline, max-response network, DSN-f, DSN), all
classifiers with equal numbers of updates, evaluates the seven methods and writes table, results.json, results.csv and
figures. The embedded data set is made once; the networks are trained anew in each call.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from rich.console import Console

from dsn_lightning.launch.jobs import Job, run_jobs, start_server
from reproduce.commands import quoted

NETWORKS = ("max_response", "baseline", "dsn", "dsn_fixed")


def configured(call: str, overrides: list[str]) -> None:
    """Run ``train`` or ``evaluate`` with these overrides; one call in a fresh process."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from dsn_lightning.commands.cli import config_folder
    from dsn_lightning.commands.evaluate import evaluate
    from dsn_lightning.commands.train import train

    with initialize_config_dir(config_folder(), version_base="1.3"):
        cfg = compose(call, [*overrides])
    OmegaConf.resolve(cfg)
    (train if call == "train" else evaluate)(cfg)


def jobs_of(title: str, seed: int, overrides: list[str], folder: Path, *, rows: str = "demo") -> list[Job]:
    """Return the trainings of the four networks, as ``conf/experiment/<rows>`` has them, and their common evaluation.

    All trainings get these overrides.
    """
    last = {name: folder / name / "checkpoints" / "last.ckpt" for name in NETWORKS}
    jobs = []
    for name in NETWORKS:
        own = [f"experiment={rows}/{name}", *overrides, f"seed={seed}", f"run_dir={quoted(folder / name)}"]
        after = []
        if name in ("dsn", "dsn_fixed"):  # the sampler starts from a trained clip network, as the paper's (Sec. V-B)
            own.append(f"observation.checkpoint={quoted(last['max_response'])}")
            after.append(f"{title} max_response")
        if name == "dsn_fixed":
            own.append(f"classifier.checkpoint={quoted(last['baseline'])}")
            after.append(f"{title} baseline")
        jobs.append(Job(f"{title} {name}", configured, ("train", own), folder / name, after))
    roles = {
        "checkpoint": "dsn",
        "baseline": "baseline",
        "dsn_fixed": "dsn_fixed",
        "max_response": "max_response",
    }
    own = [f"{role}={quoted(last[name])}" for role, name in roles.items()]
    own += [f"run_dir={quoted(folder / 'evaluate')}"]
    jobs.append(
        Job(
            f"{title} evaluate",
            configured,
            ("evaluate", own),
            folder / "evaluate",
            [job.name for job in jobs],
        )
    )
    return jobs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0", help="comma-separated (default: 0)")
    parser.add_argument("--dataset", default="needle", choices=["needle", "needle_everywhere"])
    parser.add_argument("--output", type=Path, default=Path("outputs/demo"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings at the same time")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 130)
    try:
        seeds = [int(seed) for seed in arguments.seeds.split(",")]
    except ValueError:
        parser.error(f"--seeds {arguments.seeds}: must be whole numbers with commas between them")
    output = arguments.output.absolute()
    start_server(at_once=arguments.jobs)  # imports the package while this process does the same

    from hydra import compose, initialize_config_dir

    from dsn_lightning.commands.build import build_datamodule
    from dsn_lightning.commands.cli import config_folder
    from dsn_lightning.commands.run import environment, write_json
    from dsn_lightning.evaluation.figures import cost_figure
    from dsn_lightning.evaluation.results import Row, rich_table, to_csv
    from dsn_lightning.files import write_atomically

    with initialize_config_dir(config_folder(), version_base="1.3"):
        cfg = compose("train", [f"dataset={arguments.dataset}", "run_dir=unused"])
    data = build_datamodule(cfg)
    data.prepare_data()
    data.setup()
    jobs = [
        job for seed in seeds
        for job in jobs_of(f"seed {seed}", seed, [f"dataset={arguments.dataset}"], output / f"seed{seed}")
    ]  # fmt: skip
    failed = run_jobs(jobs, at_once=max(1, min(arguments.jobs, len(jobs))), console=console)
    if failed:
        console.print("not finished: " + ", ".join(f"{job.name} ({job.state})" for job in failed))
        return 1
    rows: list[Row] = []
    for seed in seeds:
        rows += json.loads((output / f"seed{seed}" / "evaluate" / "results.json").read_text())
    write_json(output / "results.json", rows)
    write_atomically(output / "results.csv", to_csv(rows))
    write_json(output / "environment.json", environment(seeds=seeds))
    cost_figure(rows, output / "accuracy_vs_gmacs.png")
    for sheet in sorted((output / f"seed{seeds[0]}" / "evaluate" / "figures").glob("clips_*.png")):
        shutil.copy(sheet, output / sheet.name)
    spread = f", mean ± standard deviation over seeds {arguments.seeds}" if len(seeds) > 1 else f", seed {seeds[0]}"
    console.print(rich_table(rows, title=f"Table I on {arguments.dataset} (rates in %{spread})"))
    console.print(f"written: {output}/results.json, results.csv, accuracy_vs_gmacs.png, clips_*.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
