"""Processes that train together, and what every process does that this package starts.

A process ends with the one that started it, which reports what went wrong.
"""

import multiprocessing
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from dsn_lightning.child_process import end_with_parent
from dsn_lightning.current_folder import search_no_library_here
from dsn_lightning.errors import UsageError, printable
from dsn_lightning.runs.run_folder import RunFolder

PROCESS_VARIABLE = "DSN_LIGHTNING_PROCESS"
"""Environment variable that is set in the processes of `run_processes`."""
STOPPED_SECONDS = 60
"""Seconds after which a process that a signal has stopped counts as lost."""


def run_processes(
    call: Callable[..., Any], arguments: tuple[Any, ...], *, count: int, folder: Path, num_nodes: int = 1
) -> int:
    """Run ``count`` processes that work together, with as many on each other node; return the exit code.

    Each finds its rank in the environment, under the names that Lightning and torch use. The first one writes to this
    process's output, the others to ``folder/process_1.txt`` and so on. When one of them fails, its error is printed and
    the others are ended within ten seconds. SIGTERM is forwarded to all of them, and Ctrl-C as SIGTERM; both let them
    save their state.

    They are forked: this process has imported what they need, and must not have used torch before.
    """
    context = multiprocessing.get_context("fork")
    environment = {
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": os.environ.get("MASTER_PORT") or str(_free_port()),
        "NODE_RANK": os.environ.get("NODE_RANK", "0"),
        "WORLD_SIZE": str(count * num_nodes),
        "OMP_NUM_THREADS": str(available_threads() // count or 1),
    }
    errors = context.SimpleQueue()
    processes = [
        context.Process(target=_run_rank, args=(call, arguments, environment, rank, count, RunFolder(folder), errors))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    forward = _SignalForwarder(processes)
    before = {number: signal.signal(number, forward) for number in forward.received}
    try:
        failed = _wait_for(processes, forward)
    finally:
        end_processes(processes, within=10)
        for number, handler in before.items():
            signal.signal(number, handler)
    if forward.received[signal.SIGINT]:
        return 130
    return 0 if failed is None else _report_failure(failed, processes, RunFolder(folder), errors)


def import_nothing_from_working_folder() -> None:
    """Let the processes that are started from now on import no module and load no library from the working folder.

    Python looks there first for ``python -c``, with which `multiprocessing` starts its server and spawned processes.

    Raises:
        UsageError: Python was started so that they would ignore it.
    """
    if sys.flags.ignore_environment and not sys.flags.safe_path:
        raise UsageError(
            "python -E: the processes that this command starts would import modules from the current folder; add -P"
        )
    os.environ["PYTHONSAFEPATH"] = "1"  # also where it is empty, which Python takes for not set
    search_no_library_here()


class _SignalForwarder:
    """Handler that forwards SIGTERM and Ctrl-C to processes as SIGTERM; a second Ctrl-C kills them."""

    def __init__(self, processes: Sequence[BaseProcess]) -> None:
        self.processes = processes
        self.received = {signal.SIGINT: 0, signal.SIGTERM: 0}

    def __call__(self, number: int, _: Any) -> None:
        self.received[signal.Signals(number)] += 1
        for process in self.processes:
            if process.is_alive():
                process.kill() if self.received[signal.SIGINT] > 1 else process.terminate()


def _wait_for(processes: Sequence[BaseProcess], forward: _SignalForwarder) -> BaseProcess | None:
    """Wait until all have ended; when one fails, end the others and return the one that is the cause.

    One that has been stopped (SIGSTOP) for `STOPPED_SECONDS` is killed: the others wait for it.
    """
    failed: BaseProcess | None = None
    seconds_stopped = dict.fromkeys(processes, 0)
    while alive := [process for process in processes if process.is_alive()]:
        wait([process.sentinel for process in alive], timeout=1)
        for process in alive:  # this loop is stopped, too, where all processes are: by Ctrl-Z, or by a scheduler
            seconds_stopped[process] = seconds_stopped[process] + 1 if _is_stopped(process) else 0
            if seconds_stopped[process] >= STOPPED_SECONDS:
                rank = processes.index(process)
                what = f"process {rank} of {len(processes)} was stopped (SIGSTOP) for {STOPPED_SECONDS} s"
                print(f"{what}, and is killed", file=sys.stderr, flush=True)
                process.kill()
                process.join()
        stopped = any(forward.received.values())
        failed = failed or _cause([p for p in processes if p.exitcode], stopped=stopped)
        if failed is not None:
            patience, number = (60, signal.SIGTERM) if stopped else (10, signal.SIGUSR2)
            end_processes(processes, within=patience, signal_number=number)
    return failed


def _is_stopped(process: BaseProcess) -> bool:
    """Whether a process is stopped by a signal; False where the system does not tell."""
    try:
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2]
    except OSError:
        return False
    return state.startswith("T")


def _cause(failed: Sequence[BaseProcess], *, stopped: bool) -> BaseProcess | None:
    """Return the process that made the others fail: one that was killed, one with a usage error, or the first."""

    def rank(process: BaseProcess) -> int:
        code = process.exitcode or 0
        return 0 if code < 0 and not stopped else 1 if code == 2 else 2

    return min(failed, key=rank, default=None)


def _report_failure(failed: BaseProcess, processes: Sequence[BaseProcess], run: RunFolder, errors: Any) -> int:
    """Print why a process failed, unless it printed so itself, and return the exit code of the run."""
    code, count = failed.exitcode or 1, len(processes)
    rank = [process.pid for process in processes].index(failed.pid)
    if code < 0:  # the others failed because it was gone
        print(f"process {rank} of {count} ended with exit code {code}", file=sys.stderr)
        return 128 - code
    if code in (2, 143) and processes[0].exitcode == code:
        return code  # the first process has printed the reason, whichever ended first
    if code not in (2, 143) and not errors.empty():
        first, error = _first_error(errors)  # the others fail because this one did
        print(printable(f"process {first} of {count} failed:\n{error}"), file=sys.stderr)
        return code
    log = run.process_log(rank)
    lines = log.read_text().splitlines(keepends=True) if rank and log.is_file() else []
    reason = "".join(lines[-1 if code == 2 else -3 :])
    heading = "" if code == 2 and reason else f"process {rank} of {count} ended with exit code {code}\n"
    print(printable((heading + reason).rstrip()), file=sys.stderr)
    return code


_OF_ANOTHER = ("Connection closed by peer", "Connection reset by peer", "remote worker crashing")
"""What a process says that has failed because another one was gone; it may say so before the other has ended."""


def _first_error(errors: Any) -> tuple[int, str]:
    """Return the rank and the error of the process that failed first, of a queue that is not empty."""
    found: list[tuple[int, str]] = [errors.get()]
    while not errors.empty():
        found.append(errors.get())
    return next((one for one in found if not any(text in one[1] for text in _OF_ANOTHER)), found[0])


def end_processes(processes: Sequence[BaseProcess], *, within: float, signal_number: int = signal.SIGTERM) -> None:
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


def _run_rank(
    call: Callable[..., Any],
    arguments: tuple[Any, ...],
    environment: dict[str, str],
    rank: int,
    count: int,
    run: RunFolder,
    errors: Any,
) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent forwards Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, _fail)
    node = int(environment["NODE_RANK"])
    os.environ.update(environment | {"LOCAL_RANK": str(rank), "RANK": str(node * count + rank), PROCESS_VARIABLE: "1"})
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    if rank:
        redirect_output(run.process_log(rank))
    run_and_exit(call, arguments, on_error=lambda: errors.put((rank, traceback.format_exc()[-4000:])))


class AnotherProcessFailed(BaseException):
    """Ends a process whose work is in vain; not an `Exception`, which might be caught as the failure of a network."""


def _fail(*_: Any) -> None:
    raise AnotherProcessFailed("another process of this training has failed")


def available_threads() -> int:
    """Return the number of cores for this process: OMP_NUM_THREADS, which a sweep sets for its jobs, or all."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else os.cpu_count() or 1


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def redirect_output(file: Path) -> None:
    """Append all output of this process to a file, including that of native code and of earlier log handlers."""
    with open(file, "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def run_and_exit(call: Callable[..., Any], arguments: tuple[Any, ...], *, on_error: Callable[[], None]) -> None:
    """Call ``call``; an exception runs ``on_error`` and ends this process with code 1. It also ends with its parent."""
    end_with_parent()  # a killed sweep leaves no job behind
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
