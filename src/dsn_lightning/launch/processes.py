"""Processes: those that work together on one training, and what any process that is started here does.

A process ends with the one that started it, and what goes wrong in it is told there.
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
from threading import Thread
from typing import Any

STARTED_HERE = "DSN_LIGHTNING_PROCESS"
"""Environment variable of the processes that `run_processes` starts."""


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
        "OMP_NUM_THREADS": str(threads_here() // count or 1),
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
                end(processes, within=60 if any(asked.values()) else 10, signal_number=told)
    finally:
        end(processes, within=10)
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


def end(processes: Sequence[BaseProcess], *, within: float, signal_number: int = signal.SIGTERM) -> None:
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
        print_to(folder / f"process_{rank}.txt")
    run_and_exit(call, arguments, on_error=lambda: errors.put((rank, traceback.format_exc()[-4000:])))


class AnotherProcessFailed(BaseException):
    """What ends a process whose work is in vain; no `Exception`, which might be caught as the answer of a network."""


def _fail(*_: Any) -> None:
    raise AnotherProcessFailed("another process of this training has failed")


def threads_here() -> int:
    """Cores that this process may use: so many as OMP_NUM_THREADS says, as a sweep tells its jobs, or all."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else os.cpu_count() or 1


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def print_to(file: Path) -> None:
    """Send all that this process prints to a file, also what native code and handlers made before the fork print."""
    with open(file, "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def run_and_exit(call: Callable[..., Any], arguments: tuple[Any, ...], *, on_error: Callable[[], None]) -> None:
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
