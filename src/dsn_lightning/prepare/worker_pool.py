"""Works on many files in several processes, none of which can take the others down."""

import contextlib
import errno
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any

import av

from dsn_lightning.errors import UsageError
from dsn_lightning.video.video_info import VideoError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFullError(UsageError):
    """There is no room for what was to be written."""


def disk_is_full(error: OSError) -> bool:
    """Whether a file could not be written for lack of room."""
    return error.errno in _FULL


class _Worker:
    """A process that is given one task after the other."""

    def __init__(self, context: Any, call: Callable[..., None]) -> None:
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(call, other), daemon=True)
        self.process.start()
        other.close()  # now the pipe ends when the process does
        self.task: int | None = None

    def give(self, number: int, arguments: tuple[Any, ...]) -> None:
        self.task = number
        with contextlib.suppress(BrokenPipeError):  # it has died; that is seen when its answer is awaited
            self.pipe.send(arguments)

    def answer(self) -> str | None:
        """Return why the task failed, or None.

        Raises:
            DiskFullError: nothing more can be written.
            RuntimeError: the fault is the program's.
        """
        try:
            kind, text = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode
            return f"the process that worked on it ended with exit code {code}"
        if kind == "full":
            raise DiskFullError(text)
        if kind == "error":
            raise RuntimeError(text)
        return text if kind == "failed" else None

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_each(
    call: Callable[..., None], tasks: Sequence[tuple[Any, ...]], *, jobs: int
) -> Iterator[tuple[int, str | None]]:
    """Call ``call(*task)`` for each task, ``jobs`` at a time, and yield (task's number, why it failed or None).

    A task that fails on its file, or whose process dies, is reported like that and the others go on. When the caller
    stops, or is killed, all processes end at once.

    Args:
        call: importable.
        tasks: picklable arguments.
        jobs: processes.

    Raises:
        DiskFullError: nothing more can be written.
        RuntimeError: a task failed otherwise than on its file: a fault of this program.
    """
    context = multiprocessing.get_context("spawn")  # shares no lock and no open file with this process
    waiting = iter(enumerate(tasks))
    workers: list[_Worker] = []
    try:
        for number, task in waiting:
            workers.append(_Worker(context, call))
            workers[-1].give(number, task)
            if len(workers) == jobs:
                break
        while busy := {worker.pipe: worker for worker in workers if worker.task is not None}:
            for pipe in wait(list(busy)):
                worker = busy[pipe]
                done, failure = worker.task, worker.answer()
                assert done is not None
                worker.task = None
                following = next(waiting, None)
                if following is not None:
                    if not worker.process.is_alive():
                        workers[workers.index(worker)] = worker = _Worker(context, call)
                    worker.give(*following)
                yield done, failure
    finally:
        for worker in workers:
            worker.end()


def _serve(call: Callable[..., None], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to answer
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None
    Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
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
    except UsageError:
        return "error", traceback.format_exc()
    except OSError as error:
        return ("full" if disk_is_full(error) else "failed"), str(error.strerror or error)
    except av.FFmpegError as error:
        return "failed", str(error.strerror or error)
    except MemoryError:
        return "failed", "there was not enough memory"
    except Exception:
        return "error", traceback.format_exc()
    return "done", ""


def _end_with(sentinel: int) -> None:
    """End this process when the one that started it has ended, however that came."""
    wait([sentinel])
    os._exit(1)
