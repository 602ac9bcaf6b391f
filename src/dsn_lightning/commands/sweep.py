"""A sweep: many runs of dsn-train, each in a process of its own."""

import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dsn_lightning.commands.cli import refuse_old_sweep, stop
from dsn_lightning.commands.run import only_run_in, write_json
from dsn_lightning.commands.shared import stopped_early
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.splits import mean_over_splits, splits_of, to_csv
from dsn_lightning.files import write_atomically
from dsn_lightning.launch.jobs import Job, run_jobs


def run_sweep(folder: Path, jobs: Sequence[dict[str, Any]], *, at_once: int, resume: bool, first_job: int = 0) -> None:
    """Run the jobs of a sweep; what it did stands in ``folder/sweep.json`` at every moment.

    Where they differ in ``dataset.split``, it ends with a table of the means over the splits, which is also written to
    ``folder/mean_over_splits.csv``.

    Args:
        folder: the sweep's.
        jobs: each with its ``overrides`` and its ``folder`` in the sweep's. Those of ``sweep.json``, if resuming.
        at_once: how many run at the same time.
        resume: run what is missing or failed, and continue what was interrupted.
        first_job: number of the first one; not 0 where a sweeper hands its jobs over in batches.

    Raises:
        SystemExit: code 1, when a job has failed; 2, when the settings make no sense; 130, after Ctrl-C; 143, after
            SIGTERM.
    """
    if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1:
        stop("dsn-train", f"sweep.jobs={at_once}: must be a whole number of at least 1")
    console = Console(width=None if sys.stdout.isatty() else 110)
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the jobs are ended, and save, on the way
    try:
        with only_run_in(folder):
            failed = _run(folder, jobs, at_once, resume, first_job, console)
            tell_means_over_splits(folder, console)
    except UsageError as error:
        stop("dsn-train", str(error))
    except KeyboardInterrupt:
        console.print(f"stopped; sweep.resume={folder} goes on with it", soft_wrap=True)
        sys.exit(130)
    if failed:
        console.print(
            f"{len(failed)} of the jobs did not end well; sweep.resume={folder} runs them again", soft_wrap=True
        )
        for job in failed:
            console.print(f"  {job.name}: {job.state}, see {job.folder / 'log.txt'}", soft_wrap=True)
        sys.exit(1)


def _run(
    folder: Path, wanted: Sequence[dict[str, Any]], at_once: int, resume: bool, first_job: int, console: Console
) -> list[Job]:
    record = folder / "sweep.json"
    before: list[dict[str, Any]] = []
    if resume:
        wanted = json.loads(record.read_text())
    elif first_job:
        before = json.loads(record.read_text())
    else:
        refuse_old_sweep(folder)
    common = set.intersection(*(set(entry["overrides"]) for entry in wanted)) if len(wanted) > 1 else set()
    jobs = []
    for index, entry in enumerate(wanted, start=len(before)):
        place = folder / entry["folder"]
        name = " ".join([str(index), *(o for o in entry["overrides"] if o not in common)])
        job = Job(name, run_alone, (entry["overrides"], str(place), folder.name), place)
        if entry.get("state") == "done" and not stopped_early(place):
            job.state, job.exit_code = "done", entry.get("exit_code")
        jobs.append(job)

    def note() -> None:
        write_json(record, before + [
            {"overrides": list(entry["overrides"]), "folder": entry["folder"], "state": job.state,
             "exit_code": job.exit_code} for entry, job in zip(wanted, jobs, strict=True)
        ])  # fmt: skip

    note()
    return run_jobs(jobs, at_once=min(at_once, len(jobs)), console=console, on_change=note)


def tell_means_over_splits(folder: Path, console: Console) -> None:
    """Average the results of the jobs that ended well over splits, apart for each of the other settings."""
    jobs = json.loads((folder / "sweep.json").read_text())
    common = set.intersection(*(set(job["overrides"]) for job in jobs))
    rows = []
    asked = {
        int(o.rpartition("=")[2]) for job in jobs for o in job["overrides"] if re.fullmatch(r"dataset\.split=\d", o)
    }
    for job in jobs:
        results = folder / job["folder"] / "results.json"
        if job["state"] == "done" and results.is_file():
            own = [o for o in job["overrides"] if o not in common and not o.startswith(("dataset.split=", "seed="))]
            rows += [row | {"settings": " ".join(own)} for row in json.loads(results.read_text())]
    present = splits_of(rows)
    for dataset, settings, seed in dict.fromkeys((row["dataset"], row["settings"], row["seed"]) for row in rows):
        found = [row for row in rows if (row["settings"], row["seed"]) == (settings, seed)]
        lacking = sorted({*present.get(dataset, []), *asked} - set(splits_of(found).get(dataset, [])))
        if lacking and dataset in present:
            setting = " ".join(filter(None, [dataset, settings, f"seed={seed}"]))
            splits = ", ".join(map(str, lacking))
            console.print(f"left out of the means over splits (no split {splits}): {setting}", soft_wrap=True)
    means = mean_over_splits(rows, wanted=asked)
    if means:
        write_atomically(folder / "mean_over_splits.csv", to_csv(means))
        console.print(_table_of_means(means))
        console.print(f"written: {folder / 'mean_over_splits.csv'}", soft_wrap=True)


def _table_of_means(means: Sequence[dict[str, Any]]) -> Table:
    """Return the table that a person reads, rates in percent, +- the standard deviation over seeds."""
    table = Table(title="means over splits (rates in %)", title_justify="left")
    rates = {"top1": "top-1", "top5": "top-5", "mean_class": "mean class", "map": "mAP", "hit_rate": "hit rate"}
    rates = {name: title for name, title in rates.items() if any(mean[name] is not None for mean in means)}
    has_settings = any(mean["settings"] for mean in means)
    for title in ("selection", "classifier", *(["settings"] if has_settings else []), "M:N", "splits", "seeds"):
        table.add_column(title, no_wrap=title != "settings")
    for title in (*rates.values(), "GMACs"):
        table.add_column(title, justify="right", no_wrap=True)
    for mean in means:
        cells = [mean["selection"], mean["classifier"], *([mean["settings"]] if has_settings else [])]
        cells += [f"{mean['M']}:{mean['N']}", mean["splits"], mean["seeds"]]
        for name in rates:
            spread = mean[f"{name}_std"]
            rate = "-" if mean[name] is None else f"{100 * mean[name]:.1f}"
            cells.append(rate if spread is None else f"{rate} ± {100 * spread:.1f}")
        table.add_row(*cells, "-" if mean["gmacs"] is None else f"{mean['gmacs']:.3g}")
    return table


def run_alone(overrides: Sequence[str], folder: str, group: str) -> None:
    """Be ``dsn-train`` with these overrides, in the sweep ``group``; what was interrupted in ``folder`` goes on."""
    from dsn_lightning.commands import cli

    os.environ["HYDRA_FULL_ERROR"] = "1"  # the log is for whoever looks into a failure
    started = (Path(folder) / "checkpoints" / "last.ckpt").is_file()
    fresh = [*overrides, f"sweep.group='{group}'", f"hydra.run.dir='{folder}'"]
    sys.argv = ["dsn-train", *([f"resume={folder}"] if started else fresh)]
    cli.train()
