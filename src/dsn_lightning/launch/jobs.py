"""Runs jobs in fresh processes, several at a time, with one live table.

The processes of `run_jobs` are forked from a server that has imported the package once, so a job starts in a fraction
of a second and yet shares nothing with the one before: no memory, no random state, no CUDA context, no signal handlers.
"""

import json
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from dsn_lightning.launch.processes import end, print_to, run_and_exit, threads_here

_PRELOAD = ["dsn_lightning.commands.train", "dsn_lightning.commands.evaluate"]


@dataclass
class Job:
    """One call in a process of its own.

    Attributes:
        name: unique; shown, and named in ``after``.
        call: importable function.
        arguments: picklable arguments of it.
        folder: gets ``log.txt``, all that the job prints; ``progress.json`` in it feeds the table.
        after: names of jobs that must have ended well before.
        is_whole: asked when it has ended well; False: it has stopped on time (``trainer.max_time``). None: not asked.
    """

    name: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    folder: Path
    after: Sequence[str] = ()
    is_whole: Callable[[], bool] | None = field(default=None, repr=False)
    state: str = "waiting"
    exit_code: int | None = None
    slot: int = 0
    process: BaseProcess | None = field(default=None, repr=False)
    started: float = 0.0
    seconds: float = 0.0


def start_server(*, at_once: int) -> int:
    """Start the process that jobs are forked from; it imports the package meanwhile. Returns each job's threads."""
    threads = max(1, threads_here() // at_once)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read when the server imports torch
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOAD)
    ensure_running()
    return threads


def run_jobs(
    jobs: Sequence[Job], *, at_once: int, console: Console, on_change: Callable[[], None] = lambda: None
) -> list[Job]:
    """Run the jobs, ``at_once`` at a time, and return those that are not done.

    The cores and the GPUs are divided among them. A failed or stopped job does not stop the others, only those that
    come after it.
    Ctrl-C ends all of them, and so does the end of this process, whatever its cause. A job whose state is ``done`` is
    not run again.

    Args:
        jobs: in the order in which they are started.
        at_once: how many run at the same time.
        console: where the table goes.
        on_change: called whenever a job's state has changed.
    """
    context = multiprocessing.get_context("forkserver")
    threads = start_server(at_once=at_once)
    by_name = {job.name: job for job in jobs}
    with Live(_table(jobs), console=console, refresh_per_second=2, transient=not console.is_terminal) as live:
        try:
            while any(job.state in ("waiting", "running") for job in jobs):
                before_states = [job.state for job in jobs]
                _collect(jobs, console)
                for job in jobs:
                    before = [by_name[name].state for name in job.after]
                    if job.state == "waiting" and any(state in ("failed", "stopped", "skipped") for state in before):
                        job.state = "skipped"
                    running = sum(other.state == "running" for other in jobs)
                    if job.state == "waiting" and running < at_once and all(s == "done" for s in before):
                        taken = {other.slot for other in jobs if other.state == "running"}
                        job.slot = min(set(range(at_once)) - taken)
                        _start(job, context, threads, at_once)
                if [job.state for job in jobs] != before_states:
                    on_change()
                live.update(_table(jobs))
                time.sleep(0.2)
        finally:
            end([job.process for job in jobs if job.process is not None], within=60)
    return [job for job in jobs if job.state != "done"]


def _start(job: Job, context: Any, threads: int, at_once: int) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    arguments = (job.call, job.arguments, job.folder, threads, job.slot, at_once)
    process = context.Process(target=_work, args=arguments, name=job.name)
    process.start()
    job.process = process  # not before it can be joined: SIGTERM may come at any moment
    job.state, job.started = "running", time.monotonic()


def share_of(devices: Sequence[str], slot: int, at_once: int) -> list[str]:
    """Return the GPUs of one of ``at_once`` jobs that run together; with fewer GPUs than jobs, one that it shares.

    >>> [share_of(["0", "1", "2", "3"], slot, 2) for slot in (0, 1)]
    [['0', '2'], ['1', '3']]
    >>> share_of(["0", "1"], 2, 3)
    ['0']
    """
    return list(devices[slot::at_once]) or [devices[slot % len(devices)]]


def _work(
    call: Callable[..., Any], arguments: tuple[Any, ...], folder: Path, threads: int, slot: int, at_once: int
) -> None:
    import torch  # here, so that starting jobs does not need it

    torch.set_num_threads(threads)
    if at_once > 1 and torch.cuda.device_count():
        seen = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(share_of(seen.split(","), slot, at_once))
    print_to(folder / "log.txt")
    run_and_exit(call, arguments, on_error=traceback.print_exc)


def _collect(jobs: Sequence[Job], console: Console) -> None:
    for job in jobs:
        if job.state != "running" or job.process is None or job.process.is_alive():
            continue
        job.seconds = time.monotonic() - job.started
        job.exit_code = job.process.exitcode
        job.state = "done" if job.exit_code == 0 else "failed"
        if job.state == "done" and job.is_whole is not None and not job.is_whole():
            job.state = "stopped"
        if job.state == "failed":
            console.print(f"{job.name}: failed with exit code {job.exit_code}; see {job.folder / 'log.txt'}")
        elif job.state == "stopped":
            console.print(f"{job.name}: stopped on time after {job.seconds:.0f} s; the same call goes on with it")
        elif not console.is_terminal:
            console.print(f"{job.name}: done in {job.seconds:.0f} s")


def _table(jobs: Sequence[Job]) -> Table:
    table = Table("job", "state", "epoch", "best top-1", "time", "ETA")
    for job in jobs:
        progress = _progress(job) if job.state in ("running", "done") else {}
        epoch = f"{progress['epoch']}/{progress['max_epochs']}" if progress else ""
        top1 = progress.get("best_top1")
        seconds = job.seconds or (time.monotonic() - job.started if job.state == "running" else 0)
        left = ""
        if progress and job.state == "running":
            left = f"{progress['seconds_per_epoch'] * (progress['max_epochs'] - progress['epoch']):.0f} s"
        table.add_row(job.name, job.state, epoch, "" if top1 is None else f"{top1:.3f}",
                      f"{seconds:.0f} s" if seconds else "", left)  # fmt: skip
    return table


def _progress(job: Job) -> dict[str, Any]:
    try:
        content = json.loads((job.folder / "progress.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}  # not written yet
    assert isinstance(content, dict)
    return content
