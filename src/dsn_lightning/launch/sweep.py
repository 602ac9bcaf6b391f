"""A sweep: many runs, each in its own process, recorded so that a stopped sweep can be resumed."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.splits import HEADINGS, mean_over_splits, splits_of
from dsn_lightning.files import write_atomically
from dsn_lightning.launch.jobs import Job, run_jobs
from dsn_lightning.runs.exit_codes import sigterm_as_exit
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.sweep_folder import SweepFolder, SweepJob, SweepRecord, common_overrides
from dsn_lightning.runs.tolerant_files import read_json
from dsn_lightning.text_tables import TextTable, csv_text, percent

RunJob = Callable[[Sequence[str], str, str], None]
"""Runs one job, called with its arguments, its folder and the name of the sweep; continues an interrupted one."""


def run_sweep(
    folder: Path,
    planned: SweepRecord | None,
    run_job: RunJob,
    *,
    at_once: int,
    first_job: int = 0,
    preload: Sequence[str] = (),
) -> list[Job]:
    """Run the jobs of a sweep and return those that are not done; ``folder/sweep.json`` records their states.

    Where jobs differ in ``dataset.split``, it ends with a table of the means over the splits, which is also written to
    ``folder/mean_over_splits.csv``. A folder that is in use, or holds another sweep, is refused.

    Args:
        folder: folder of the sweep.
        planned: the jobs of a new sweep; None: those of the one in ``folder`` that are missing, failed or interrupted.
        run_job: importable function that runs a job.
        at_once: how many run at the same time.
        first_job: number of the first job; not 0 where a sweeper launches its jobs in batches.
        preload: modules that every job needs.
    """
    console = Console(width=None if sys.stdout.isatty() else 110)
    folder.mkdir(parents=True, exist_ok=True)
    sweep = SweepFolder(folder)
    with sigterm_as_exit(), sweep.hold():  # on the way out the jobs are ended, and save their state
        record, first = _record(sweep, planned, continued=first_job > 0)
        jobs = _jobs(sweep, record, run_job)[first:]

        def write() -> None:
            pairs = zip(record.jobs[first:], jobs, strict=True)
            current = [replace(entry, state=job.state, exit_code=job.exit_code) for entry, job in pairs]
            sweep.write(replace(record, jobs=[*record.jobs[:first], *current]))

        write()
        try:
            failed = run_jobs(jobs, at_once=min(at_once, len(jobs)), console=console, on_change=write, preload=preload)
        except KeyboardInterrupt:
            console.print(f"stopped; sweep.resume={folder} continues it", soft_wrap=True, markup=False)
            raise
        show_means_over_splits(sweep, console)
    if failed:
        lines = [f"{len(failed)} of the jobs did not end well; sweep.resume={folder} runs them again"]
        lines += [f"  {job.name}: {job.state}, see {RunFolder(job.folder).log}" for job in failed]
        console.print("\n".join(lines), soft_wrap=True, markup=False)
    return failed


def _record(sweep: SweepFolder, planned: SweepRecord | None, *, continued: bool) -> tuple[SweepRecord, int]:
    """Return the record of all jobs, and the number of the first one to run now."""
    if planned is None:
        record = sweep.read()
        if not record.jobs:
            raise UsageError(f"{sweep.sweep_json}: no jobs recorded")
        return record, 0
    if not continued:
        sweep.refuse_existing()
    before = sweep.read().jobs if continued else ()
    record = replace(planned, jobs=[*before, *planned.jobs])
    _check_folders(sweep, record.jobs)
    for run in map(sweep.run, planned.jobs):
        if run.is_used():
            remedy = "a new sweep needs another folder"
            raise UsageError(f"hydra.sweep.dir={sweep.path}: {run.path} already holds a run ({run.state()}); {remedy}")
    return record, len(before)


def _check_folders(sweep: SweepFolder, jobs: Sequence[SweepJob]) -> None:
    """Raise `UsageError` if two jobs have the same folder: the second would continue the first."""
    common = common_overrides(jobs)
    names: dict[str, list[str]] = {}
    for number, job in enumerate(jobs):
        names.setdefault(os.path.normpath(sweep.run(job).path), []).append(job.name(number, without=common))
    for folder, same in names.items():
        if len(same) > 1:
            raise UsageError(
                f"hydra.sweep.subdir: jobs {' and '.join(repr(name) for name in same)} have the same folder {folder}; "
                "name every swept key in hydra.sweep.subdir, or leave it out for a folder per number"
            )


def _jobs(sweep: SweepFolder, record: SweepRecord, run_job: RunJob) -> list[Job]:
    """Return the jobs, named by their numbers and by what distinguishes them; those that are done stay so."""
    common = common_overrides(record.jobs) if len(record.jobs) > 1 else set()
    jobs = []
    for number, entry in enumerate(record.jobs):
        run = sweep.run(entry)
        name = entry.name(number, without=common)
        arguments = [*record.config_arguments, *entry.overrides]
        job = Job(name, run_job, (arguments, str(run.path), sweep.path.name), run.path)
        if entry.state == "done" and not run.stopped_early():
            job.state, job.exit_code = "done", entry.exit_code
        jobs.append(job)
    return jobs


def show_means_over_splits(sweep: SweepFolder, console: Console) -> None:
    """Average the results of the jobs that ended well over splits, separately for each of the other settings."""
    jobs = sweep.read().jobs
    common = common_overrides(jobs)
    overrides = [override for job in jobs for override in job.overrides]
    splits = {int(o.rpartition("=")[2]) for o in overrides if re.fullmatch(r"dataset\.split=\d", o)}
    rows: list[dict[str, Any]] = []
    for job in jobs:
        results = read_json(sweep.run(job).results_json)
        if job.state == "done" and results is not None:
            ignored = ("dataset.split=", "seed=")
            settings = " ".join(o for o in job.overrides if o not in common and not o.startswith(ignored))
            rows += [row | {"settings": settings} for row in results]
    present = splits_of(rows)
    for dataset, settings, seed in dict.fromkeys((row["dataset"], row["settings"], row["seed"]) for row in rows):
        found = [row for row in rows if (row["settings"], row["seed"]) == (settings, seed)]
        missing = sorted({*present.get(dataset, []), *splits} - set(splits_of(found).get(dataset, [])))
        if missing and dataset in present:
            setting = " ".join(filter(None, [dataset, settings, f"seed={seed}"]))
            line = f"left out of the means over splits (no split {', '.join(map(str, missing))}): {setting}"
            console.print(line, soft_wrap=True, markup=False)
    means = mean_over_splits(rows, required=splits)
    if means:
        write_atomically(sweep.mean_over_splits_csv, csv_text(means))
        _table_of_means(means).print(console)
        console.print(f"written: {sweep.mean_over_splits_csv}", soft_wrap=True, markup=False)


def _table_of_means(means: Sequence[dict[str, Any]]) -> TextTable:
    """Return a table with rates in percent, +- the standard deviation over seeds."""
    rates = {name: title for name, title in HEADINGS.items() if any(mean[name] is not None for mean in means)}
    has_settings = any(mean["settings"] for mean in means)
    names = ["selection", "classifier", *(["settings"] if has_settings else []), "M:N", "splits", "seeds"]
    rows = []
    for mean in means:
        cells = [mean["selection"], mean["classifier"], *([mean["settings"]] if has_settings else [])]
        cells += [f"{mean['M']}:{mean['N']}", mean["splits"], mean["seeds"]]
        cells += [percent(mean[name], mean[f"{name}_std"]) for name in rates]
        rows.append([*cells, "-" if mean["gmacs"] is None else f"{mean['gmacs']:.3g}"])
    header, title = [*names, *rates.values(), "GMACs"], "means over splits (rates in %)"
    return TextTable(header, rows, num_names=len(names), title=title, fold=has_settings)
