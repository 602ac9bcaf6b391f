"""A sweep: many runs, each in its own process, recorded so that a stopped sweep can be resumed."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.row_check import is_row
from dsn_lightning.evaluation.splits import HEADINGS, mean_over_splits, splits_of
from dsn_lightning.files import write_atomically
from dsn_lightning.launch.jobs import Job, run_jobs
from dsn_lightning.runs.exit_codes import sigterm_as_exit
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.sweep_folder import SweepFolder, SweepJob, SweepRecord, common_overrides
from dsn_lightning.runs.tolerant_files import read_json
from dsn_lightning.text_tables import PrintableConsole, TextTable, csv_text, percent

RunJob = Callable[[str, str], None]
"""Runs one job, called with its folder and the folder of the sweep; continues an interrupted one."""


def plan_sweep(
    sweep: SweepFolder, planned: Sequence[SweepJob], *, continued: bool, write_jobs: Callable[[], None]
) -> None:
    """Record the jobs of a new sweep, or further jobs of one whose sweeper launches them in batches (``continued``).

    ``write_jobs`` writes what each job starts from. It is called before the record is written: a recorded job can
    always be begun again, whenever the sweep is killed.

    Raises:
        UsageError: the folder holds another sweep, two jobs have the same folder, or that of a job holds a run.
    """
    if not continued:
        sweep.refuse_existing()
    record = SweepRecord([*(sweep.read().jobs if continued else ()), *planned])
    _check_folders(sweep, record.jobs)
    for run in map(sweep.run, planned):
        if run.is_used():
            remedy = "a new sweep needs another folder"
            raise UsageError(f"hydra.sweep.dir={sweep.path}: {run.path} already holds a run ({run.state()}); {remedy}")
    sweep.path.mkdir(parents=True, exist_ok=True)
    write_jobs()
    sweep.write(record)


def run_sweep(
    sweep: SweepFolder, run_job: RunJob, *, at_once: int, first_job: int = 0, preload: Sequence[str] = ()
) -> list[Job]:
    """Run the jobs of a sweep that are not done, and return all; ``sweep.json`` records their states.

    Where jobs differ in ``dataset.split``, it ends with a table of the means over the splits, which is also written to
    ``mean_over_splits.csv``. A folder that is in use is refused.

    Args:
        sweep: its folder, with the record of its jobs.
        run_job: importable function that runs a job.
        at_once: how many run at the same time.
        first_job: number of the first job to run and return; not 0 where a sweeper launches its jobs in batches.
        preload: modules that every job needs.
    """
    check_at_once(at_once)
    console = sweep_console()
    with sigterm_as_exit(), sweep.hold():  # on the way out the jobs are ended, and save their state
        record = sweep.read()
        if not record.jobs:
            raise UsageError(sweep.damaged())
        jobs = _jobs(sweep, record, run_job)[first_job:]

        def write() -> None:
            pairs = zip(record.jobs[first_job:], jobs, strict=True)
            current = [replace(entry, state=job.state, exit_code=job.exit_code) for entry, job in pairs]
            sweep.write(SweepRecord([*record.jobs[:first_job], *current]))

        write()
        try:
            failed = run_jobs(jobs, at_once=min(at_once, len(jobs)), console=console, on_change=write, preload=preload)
        except KeyboardInterrupt:
            console.print(f"stopped; sweep.resume={sweep.path} continues it", soft_wrap=True, markup=False)
            raise
        show_means_over_splits(sweep, console)
    show_results(sweep, jobs, console)
    show_failures(failed, f"sweep.resume={sweep.path} runs them again", console)
    return jobs


def check_at_once(at_once: object) -> None:
    """Raise `UsageError` unless this is a number of jobs that can run at the same time."""
    if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1:
        raise UsageError(f"sweep.jobs={at_once}: must be a whole number of at least 1")


def sweep_console() -> PrintableConsole:
    """Return the console for the tables of a sweep."""
    return PrintableConsole(width=None if sys.stdout.isatty() else 110)


def show_failures(failed: Sequence[Job], remedy: str, console: Console) -> None:
    """Print the jobs that did not end well, if there are any, and where to read why."""
    if failed:
        lines = [f"{len(failed)} of the jobs did not end well; {remedy}"]
        lines += [f"  {job.name}: {job.state}, see {RunFolder(job.folder).log}" for job in failed]
        console.print("\n".join(lines), soft_wrap=True, markup=False)


def show_results(sweep: SweepFolder, jobs: Sequence[Job], console: Console) -> None:
    """Print the jobs with their results, the sweep's folder, and one command that uploads all offline W&B runs."""
    header = ["job", "state", "epochs", "best of held-out videos", "test, own selection"]
    title = "results of the sweep (in %)"
    console.print(TextTable(header, [_result(job) for job in jobs], num_names=2, title=title, fold=True).terminal())
    lines = [f"written: {sweep.path}; dsn-report {shlex.quote(str(sweep.path))} shows it on one page"]
    pattern = "wandb/offline-run-*"
    offline = [str(path) for job in jobs for path in sorted(job.folder.glob(pattern))]
    if offline:
        below = {str(path) for path in sweep.path.glob(f"*/{pattern}")}
        together = f"{shlex.quote(str(sweep.path))}/*/{pattern}"
        lines.append(f"W&B: upload with: wandb sync {together if below == set(offline) else shlex.join(offline)}")
    console.print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)


def _result(job: Job) -> list[str]:
    run = RunFolder(job.folder)
    progress, tested = run.progress(), tested_value(run) if job.state == "done" else None
    epochs = f"{progress['epoch']}/{progress['max_epochs']}" if progress else "-"
    return [job.name, job.state, epochs, percent(run.best_value()), percent(tested)]


def tested_value(run: RunFolder) -> float | None:
    """Return the top-1 accuracy, or else the mAP, of a run's own selection method in its test, in [0, 1]."""
    own = [row for row in _rows(run) if row["selection"] == row["algorithm"]]
    return next((row["map"] if row["top1"] is None else row["top1"] for row in own), None)


_NEEDED = {"algorithm", "classifier", "split", "seed", "M", "N", "top1", "map"}  # of a row, besides what is_row checks


def _rows(run: RunFolder) -> list[dict[str, Any]]:
    """Return the rows of a job's results; none if they cannot be read."""
    content = read_json(run.results_json)
    rows = [row for row in content if is_row(row)] if isinstance(content, list) else []
    return [row for row in rows if {*row} >= _NEEDED]


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
        job = Job(name, run_job, (str(run.path), str(sweep.path)), run.path)
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
        results = _rows(sweep.run(job))
        if job.state == "done" and results:
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
