"""Runs trainings in fresh processes: several at a time with one live table, or one that needs several.

The processes of `run_jobs` are forked from a server that has imported the package once, so a job starts in a fraction
of a second and yet shares nothing with the one before: no memory, no random state, no CUDA context, no signal handlers.
"""

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

STARTED_HERE = "DSN_LIGHTNING_PROCESS"
"""Environment variable of the processes that `run_processes` starts."""

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
    """

    name: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    folder: Path
    after: Sequence[str] = ()
    state: str = "waiting"
    exit_code: int | None = None
    slot: int = 0
    process: BaseProcess | None = field(default=None, repr=False)
    started: float = 0.0
    seconds: float = 0.0


def start_server(*, at_once: int) -> int:
    """Start the process that jobs are forked from; it imports the package meanwhile. Returns each job's threads."""
    threads = max(1, _threads_here() // at_once)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read when the server imports torch
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOAD)
    ensure_running()
    return threads


def run_jobs(
    jobs: Sequence[Job], *, at_once: int, console: Console, on_change: Callable[[], None] = lambda: None
) -> list[Job]:
    """Run the jobs, ``at_once`` at a time, and return those that failed.

    The cores and the GPUs are divided among them. A failed job does not stop the others, only those that come after it.
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
                    if job.state == "waiting" and any(state in ("failed", "skipped") for state in before):
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
            _end([job.process for job in jobs if job.process is not None], within=20)
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
    _print_to(folder / "log.txt")
    _run_and_exit(call, arguments, on_error=traceback.print_exc)


def _print_to(file: Path) -> None:
    """Send all that this process prints to a file, also what native code and handlers made before the fork print."""
    with open(file, "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def _run_and_exit(call: Callable[..., Any], arguments: tuple[Any, ...], *, on_error: Callable[[], None]) -> None:
    """Call; what it raises is told to ``on_error`` and ends this process with code 1. It also ends with its parent."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    try:
        call(*arguments)
    except SystemExit:
        raise
    except BaseException:
        on_error()
        sys.exit(1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _end_with(sentinel: int) -> None:
    """End this process when that of the sentinel has ended: a killed sweep leaves no job behind."""
    wait([sentinel])
    os._exit(1)


def run_processes(
    call: Callable[..., Any], arguments: tuple[Any, ...], *, count: int, folder: Path, num_nodes: int = 1
) -> int:
    """Run on this machine ``count`` processes that work together, as do others on each node; return the exit code.

    Each finds its place in the environment, under the names that Lightning and torch know. The first one writes to this
    process's output, the others to ``folder/process_1.txt`` and so on. When one of them fails, its error is printed and
    the others are ended, within ten seconds. SIGTERM is handed on to all of them, and so is Ctrl-C, as SIGTERM; both
    let them save what they have.

    They are forked: this process has imported what they need, and must not have used torch before.
    """
    context = multiprocessing.get_context("fork")
    environment = {
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": os.environ.get("MASTER_PORT") or str(_free_port()),
        "NODE_RANK": os.environ.get("NODE_RANK", "0"),
        "WORLD_SIZE": str(count * num_nodes),
        "OMP_NUM_THREADS": str(_threads_here() // count or 1),
    }
    errors = context.SimpleQueue()
    processes = [
        context.Process(target=_be_process, args=(call, arguments, environment, rank, count, folder, errors))
        for rank in range(count)
    ]
    asked = {signal.SIGINT: 0, signal.SIGTERM: 0}

    def hand_on(number: int, _: Any) -> None:
        asked[signal.Signals(number)] += 1
        for process in processes:
            if process.is_alive():
                process.kill() if asked[signal.SIGINT] > 1 else process.terminate()

    for process in processes:
        process.start()
    before = {number: signal.signal(number, hand_on) for number in asked}
    failed: BaseProcess | None = None
    try:
        while alive := [process for process in processes if process.is_alive()]:
            wait([process.sentinel for process in alive], timeout=1)
            failed = failed or _cause([p for p in processes if p.exitcode], asked=any(asked.values()))
            if failed is not None:
                told = signal.SIGTERM if any(asked.values()) else signal.SIGUSR2
                _end(processes, within=60 if any(asked.values()) else 10, signal_number=told)
    finally:
        _end(processes, within=10)
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked[signal.SIGINT]:
        return 130
    if failed is None:
        return 0
    code = failed.exitcode or 1
    place = [process.pid for process in processes].index(failed.pid)
    if code < 0:  # the others have failed because it was gone
        print(f"process {place} of {count} ended with exit code {code}", file=sys.stderr)
    elif code in (2, 143) and processes[0].exitcode == code:
        pass  # the first one has said why itself, whoever ended before it or was stopped halfway
    elif code not in (2, 143) and not errors.empty():
        first, said = errors.get()  # the others fail because this one did
        print(f"process {first} of {count} failed:\n{said}", file=sys.stderr)
    else:
        log = folder / f"process_{place}.txt"
        lines = log.read_text().splitlines(keepends=True) if place and log.is_file() else []
        said = "".join(lines[-1 if code == 2 else -3 :])
        heading = "" if code == 2 and said else f"process {place} of {count} ended with exit code {code}\n"
        print((heading + said).rstrip(), file=sys.stderr)
    return 128 - code if code < 0 else code


def _cause(failed: Sequence[BaseProcess], *, asked: bool) -> BaseProcess | None:
    """Return the process that made the others fail: one that was killed, one that was used wrongly, or the first."""

    def rank(process: BaseProcess) -> int:
        code = process.exitcode or 0
        return 0 if code < 0 and not asked else 1 if code == 2 else 2

    return min(failed, key=rank, default=None)


def _end(processes: Sequence[BaseProcess], *, within: float, signal_number: int = signal.SIGTERM) -> None:
    """Ask the processes to end, and kill those that have not after ``within`` seconds."""
    deadline = time.monotonic() + within
    for process in processes:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal_number)
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _be_process(
    call: Callable[..., Any],
    arguments: tuple[Any, ...],
    environment: dict[str, str],
    rank: int,
    count: int,
    folder: Path,
    errors: Any,
) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hands Ctrl-C on
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, _fail)
    node = int(environment["NODE_RANK"])
    os.environ.update(environment | {"LOCAL_RANK": str(rank), "RANK": str(node * count + rank), STARTED_HERE: "1"})
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    if rank:
        _print_to(folder / f"process_{rank}.txt")
    _run_and_exit(call, arguments, on_error=lambda: errors.put((rank, traceback.format_exc()[-4000:])))


class AnotherProcessFailed(BaseException):
    """What ends a process whose work is in vain; no `Exception`, which might be caught as the answer of a network."""


def _fail(*_: Any) -> None:
    raise AnotherProcessFailed("another process of this training has failed")


def _threads_here() -> int:
    """Cores that this process may use: so many as OMP_NUM_THREADS says, as a sweep tells its jobs, or all."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else os.cpu_count() or 1


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def _collect(jobs: Sequence[Job], console: Console) -> None:
    for job in jobs:
        if job.state != "running" or job.process is None or job.process.is_alive():
            continue
        job.seconds = time.monotonic() - job.started
        job.exit_code = job.process.exitcode
        job.state = "done" if job.exit_code == 0 else "failed"
        if job.state == "failed":
            console.print(f"{job.name}: failed with exit code {job.exit_code}; see {job.folder / 'log.txt'}")
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
