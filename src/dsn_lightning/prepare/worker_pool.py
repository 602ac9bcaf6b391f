"""A pool of processes that work on many files; a process that dies does not affect the others."""

import contextlib
import errno
import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import av

from dsn_lightning.child_process import end_with_parent
from dsn_lightning.errors import UsageError
from dsn_lightning.video.video_info import VideoError


class DiskFullError(UsageError):
    """A file could not be written for lack of disk space."""


def disk_is_full(error: OSError) -> bool:
    """Whether an error means a lack of disk space."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Worker:
    """A process that works on one task after the other."""

    def __init__(self, context: Any, call: Callable[..., None]) -> None:
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(call, other), daemon=True)
        self.process.start()
        other.close()  # so that the pipe ends when the process does
        self.task: int | None = None

    def assign(self, number: int, arguments: tuple[Any, ...]) -> None:
        self.task = number
        with contextlib.suppress(BrokenPipeError):  # the process has died, which `result` reports
            self.pipe.send(arguments)

    def result(self) -> str | None:
        """Wait for the task, and return why it failed, or None; raise what `run_each` raises."""
        try:
            kind, text = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return f"its worker process ended with exit code {self.process.exitcode}"
        if kind == "full":
            raise DiskFullError(text)
        if kind == "error":
            raise RuntimeError(text)
        return text if kind == "failed" else None

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_each(
    call: Callable[..., None], tasks: Sequence[tuple[Any, ...]], *, jobs: int
) -> Iterator[tuple[int, str | None]]:
    """Call ``call(*task)`` for each task, ``jobs`` at a time, and yield (task's number, why it failed or None).

    A task that fails because of its file, or whose process dies, is reported as failed, and the others go on. When the
    caller stops or is killed, all processes end at once. ``call`` must be importable, and its arguments picklable.

    Raises:
        DiskFullError: the disk is full.
        RuntimeError: a task failed for another reason than its file: a bug.
    """
    context = multiprocessing.get_context("spawn")  # shares no locks and no open files with this process
    waiting = iter(enumerate(tasks))
    workers: list[_Worker] = []
    try:
        for number, task in waiting:
            workers.append(_Worker(context, call))
            workers[-1].assign(number, task)
            if len(workers) == jobs:
                break
        while busy := {worker.pipe: worker for worker in workers if worker.task is not None}:
            for pipe in wait(list(busy)):
                worker = busy[pipe]
                done, failure = worker.task, worker.result()
                assert done is not None
                worker.task = None
                if (following := next(waiting, None)) is not None:
                    if not worker.process.is_alive():
                        workers[workers.index(worker)] = worker = _Worker(context, call)
                    worker.assign(*following)
                yield done, failure
    finally:
        for worker in workers:
            worker.stop()


def _serve(call: Callable[..., None], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process handles Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    while True:
        try:
            arguments = pipe.recv()
        except EOFError:
            sys.exit()
        pipe.send(_outcome(call, arguments))


def _outcome(call: Callable[..., None], arguments: tuple[Any, ...]) -> tuple[str, str]:
    try:
        call(*arguments)
    except VideoError as error:
        return "failed", error.reason
    except OSError as error:
        return ("full" if disk_is_full(error) else "failed"), str(error.strerror or error)
    except av.FFmpegError as error:
        return "failed", str(error.strerror or error)
    except MemoryError:
        return "failed", "not enough memory"
    except Exception:
        return "error", traceback.format_exc()
    return "done", ""
