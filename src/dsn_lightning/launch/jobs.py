"""Runs jobs in fresh processes, several at a time, with one live table.

The processes of `run_jobs` are forked from a server that has imported the package once. A job starts in a fraction of a
second and yet shares nothing with the one before: no memory, no random state, no CUDA context, no signal handlers.
"""

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from dsn_lightning.launch.processes import (
    available_threads,
    end_processes,
    import_nothing_from_working_folder,
    redirect_output,
    run_and_exit,
)
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.text_tables import TextTable

_PATIENCE = 60
"""Seconds that jobs have to save their state when they are asked to end."""


@dataclass
class Job:
    """A call of an importable function in its own process.

    Its state is ``waiting``, ``running``, ``done``, ``failed``, ``stopped`` (`is_whole`, or with the
    others), ``pruned`` (`is_pruned`) or ``skipped`` (`after`).
    """

    name: str  # unique; shown in the table
    call: Callable[..., Any]
    arguments: tuple[Any, ...]  # picklable
    folder: Path  # receives all output in log.txt; progress.json in it feeds the table
    after: Sequence[str] = ()  # names of jobs that must have ended well before
    is_whole: Callable[[], bool] | None = field(default=None, repr=False)
    """Called when the job has ended well; False: ``trainer.max_time`` stopped it."""
    is_pruned: bool = False  # set while it runs: it is asked to end, as it has no prospects
    state: str = "waiting"
    exit_code: int | None = None
    slot: int = 0  # its place among the jobs that run at the same time
    process: BaseProcess | None = field(default=None, repr=False)
    started: float = 0.0  # on the clock of `time.monotonic`
    seconds: float = 0.0
    kill_at: float | None = None  # a pruned job that has been asked to end; on the same clock


def start_server(*, at_once: int, preload: Sequence[str] = ()) -> int:
    """Start the process that jobs are forked from, which imports ``preload`` meanwhile; return each job's threads."""
    threads = max(1, available_threads() // at_once)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read when the server imports torch
    import_nothing_from_working_folder()
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(preload))
    ensure_running()
    return threads


def run_jobs(
    jobs: Sequence[Job],
    *,
    at_once: int,
    console: Console,
    on_change: Callable[[], None] = lambda: None,
    attend: Callable[[], None] = lambda: None,
    preload: Sequence[str] = (),
) -> list[Job]:
    """Run the jobs in their order, ``at_once`` at a time, with a table, and return those that are not done.

    The cores and the GPUs are divided among them. A failed or stopped job stops only the jobs that come after it.
    Ctrl-C ends all of them, and so does the end of this process, whatever its cause. Only jobs whose state is
    ``waiting`` are run.

    Args:
        jobs: the jobs; ``attend`` may add to the list.
        at_once: how many run at the same time.
        console: where the table and a line for each job are printed.
        on_change: is called whenever a state has changed.
        attend: is called again and again while jobs run; it may add jobs and set `Job.is_pruned`.
        preload: modules that every job needs; they count unless the server runs.
    """
    context = multiprocessing.get_context("forkserver")
    threads = start_server(at_once=at_once, preload=preload)
    with Live(_table(jobs), console=console, refresh_per_second=2, transient=not console.is_terminal) as live:
        try:
            attend()
            while any(job.state in ("waiting", "running") for job in jobs):
                states = [job.state for job in jobs]
                _collect(jobs, console)
                attend()
                _end_pruned(jobs)
                for job in _startable(jobs, at_once):
                    _start(job, context, threads, at_once)
                if [job.state for job in jobs] != states:  # also where jobs were added
                    on_change()
                live.update(_table(jobs))
                time.sleep(0.2)
        finally:
            end_processes([job.process for job in jobs if job.process is not None], within=_PATIENCE)
            if interrupted := [job for job in jobs if job.state == "running" and job.process is not None]:
                for job in interrupted:
                    job.exit_code = job.process.exitcode if job.process is not None else None
                    job.state = "stopped" if job.exit_code or (job.is_whole and not job.is_whole()) else "done"
                    job.state = "pruned" if job.is_pruned else job.state
                on_change()
    return [job for job in jobs if job.state != "done"]


def _startable(jobs: Sequence[Job], at_once: int) -> Iterator[Job]:
    """Yield the jobs to start now, each with a slot; mark those as skipped whose predecessors did not end well."""
    by_name = {job.name: job for job in jobs}
    for job in jobs:
        before = [by_name[name].state for name in job.after]
        if job.state == "waiting" and any(state in ("failed", "stopped", "skipped") for state in before):
            job.state = "skipped"
        taken = {other.slot for other in jobs if other.state == "running"}
        if job.state == "waiting" and len(taken) < at_once and all(state == "done" for state in before):
            job.slot = min(set(range(at_once)) - taken)
            yield job


def _start(job: Job, context: Any, threads: int, at_once: int) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    arguments = (job.call, job.arguments, RunFolder(job.folder).log, threads, job.slot, at_once)
    process = context.Process(target=_work, args=arguments, name=job.name)
    process.start()
    job.process = process  # only once it can be joined: SIGTERM may come at any moment
    job.state, job.started = "running", time.monotonic()


def share_of(devices: Sequence[str], slot: int, at_once: int) -> list[str]:
    """Return the GPUs of one of ``at_once`` simultaneous jobs; with fewer GPUs than jobs, one that jobs share.

    >>> [share_of(["0", "1", "2", "3"], slot, 2) for slot in (0, 1)]
    [['0', '2'], ['1', '3']]
    >>> share_of(["0", "1"], 2, 3)
    ['0']
    """
    return list(devices[slot::at_once]) or [devices[slot % len(devices)]]


def _work(
    call: Callable[..., Any], arguments: tuple[Any, ...], log: Path, threads: int, slot: int, at_once: int
) -> None:
    import torch  # here: starting jobs does not need it

    torch.set_num_threads(threads)
    if at_once > 1 and torch.cuda.device_count():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(share_of(visible.split(","), slot, at_once))
    redirect_output(log)
    run_and_exit(call, arguments, on_error=traceback.print_exc)


def _end_pruned(jobs: Sequence[Job]) -> None:
    """Ask pruned jobs to end, as a stop does; kill those that have not after a minute."""
    for job in jobs:
        if job.is_pruned and job.state == "running" and job.process is not None:
            if job.kill_at is None:
                job.kill_at = time.monotonic() + _PATIENCE
                job.process.terminate()
            elif time.monotonic() > job.kill_at:
                job.process.kill()


def _collect(jobs: Sequence[Job], console: Console) -> None:
    """Set the state of the jobs that have ended, and print a line for each."""
    for job in jobs:
        if job.state != "running" or job.process is None or job.process.is_alive():
            continue
        job.seconds, job.exit_code = time.monotonic() - job.started, job.process.exitcode
        if job.is_pruned:
            job.state, line = "pruned", f"pruned after {job.seconds:.0f} s"
        elif job.exit_code != 0:
            job.state = "failed"
            line = f"failed with exit code {job.exit_code}; see {RunFolder(job.folder).log}"
        elif job.is_whole is not None and not job.is_whole():
            job.state = "stopped"
            line = f"stopped by its time limit after {job.seconds:.0f} s; the same call continues it"
        else:
            job.state, line = "done", f"done in {job.seconds:.0f} s"
        if job.state != "done" or not console.is_terminal:
            console.print(f"{job.name}: {line}", markup=False)


def _table(jobs: Sequence[Job]) -> Table:
    header = ("job", "state", "epoch", "best top-1", "time", "ETA")
    return TextTable(header, [_row(job) for job in jobs], num_names=2, fold=True).terminal()


def _row(job: Job) -> list[str]:
    progress = RunFolder(job.folder).progress() if job.state in ("running", "done", "pruned") else {}
    epoch, top1, remaining = "", None, ""
    if progress:
        epoch, top1 = f"{progress['epoch']}/{progress['max_epochs']}", progress.get("best_value")
        if job.state == "running":
            remaining = f"{progress['seconds_per_epoch'] * (progress['max_epochs'] - progress['epoch']):.0f} s"
    seconds = job.seconds or (time.monotonic() - job.started if job.state == "running" else 0)
    time_taken = f"{seconds:.0f} s" if seconds else ""
    return [job.name, job.state, epoch, "" if top1 is None else f"{top1:.1%}", time_taken, remaining]
