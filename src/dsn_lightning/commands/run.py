"""What a run does besides its work: a lock on its folder, the record of its environment, a quiet Lightning."""

import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from dsn_lightning.cost.speed import cpu_name
from dsn_lightning.errors import UsageError
from dsn_lightning.files import write_atomically
from dsn_lightning.runs.exit_codes import STOPPED_BY_SIGTERM, exit_code_of

_LIGHTNINGS_ADVICE = (
    ".*does not have many workers.*",
    ".*treespec.*",
    ".*smaller than the logging interval.*",
    ".*have no `val_dataloader`.*",
    ".*Total length of `list` across ranks is zero.*",  # likewise: nothing to validate on
    ".*exists and is not empty.*",  # the run's folder, when a run is resumed
    ".*your dataloader is not resumable.*",  # it is; Lightning looks for another way to do it
    ".*in eval mode at the start of training.*",  # parts that a network keeps frozen
    ".*use `.*sync_dist=True.*",  # what is logged at an epoch's end is the same in all processes
)


def keep_lightning_quiet() -> None:
    """Leave out advice that does not apply here; warnings about anything else stay."""
    for advice in _LIGHTNINGS_ADVICE:
        warnings.filterwarnings("ignore", message=advice)
    for logger in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(logger).setLevel(logging.WARNING)


class RunStatus:
    """``status.json`` in a run's folder: ``state`` (running, finished, failed, stopped), ``exit_code``, ``error``,
    ``started``, ``ended`` (ISO times), ``seconds``.

    A killed run stays ``running``, with nobody holding the folder's ``.lock``.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "status.json"
        self.started = datetime.now(UTC)
        self._write("running", None, None)

    def end(self, state: str, exit_code: int, error: str | None = None) -> None:
        """Write how it ended."""
        self._write(state, exit_code, error)

    def _write(self, state: str, exit_code: int | None, error: str | None) -> None:
        ended = None if exit_code is None else datetime.now(UTC)
        write_json(self.file, {
            "state": state,
            "exit_code": exit_code,
            "error": error,
            "started": self.started.isoformat(timespec="seconds"),
            "ended": ended and ended.isoformat(timespec="seconds"),
            "seconds": ended and round((ended - self.started).total_seconds(), 1),
        })  # fmt: skip


@contextmanager
def recorded(folder: Path) -> Iterator[None]:
    """Write `RunStatus` for what runs inside, whatever its end."""
    status = RunStatus(folder)
    try:
        yield
    except BaseException as error:
        code = exit_code_of(error)
        usage = error if isinstance(error, UsageError) else error.__cause__
        message: str | None = str(usage) if isinstance(usage, UsageError) else f"{type(error).__name__}: {error}"
        if isinstance(error, SystemExit | KeyboardInterrupt):
            message = None
        state = "stopped" if code in (130, STOPPED_BY_SIGTERM) else "failed"
        status.end(state, code, message and message.splitlines()[0])
        raise
    status.end("finished", 0)


def correct_status(folder: Path, code: int, *, since: datetime) -> None:
    """Give ``status.json`` the exit code of the whole run, where another process's failure ended the first one."""
    file = folder / "status.json"
    content = json.loads(file.read_text()) if file.is_file() else {}
    own = bool(content) and datetime.fromisoformat(content["started"]) >= since  # and not that of a run it found there
    if own and content["exit_code"] != code:
        state = "stopped" if code in (130, STOPPED_BY_SIGTERM) else "failed"
        write_json(file, content | {"state": state, "exit_code": code})


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; released by the system when the process ends, however it ends.

    Raises:
        UsageError: another process works in it.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=3)  # a run that was just killed may take a moment to end
    except Timeout:
        raise UsageError(f"{folder}: another process is working in this folder") from None
    try:
        yield
    finally:
        lock.release()


def environment(**more: Any) -> dict[str, Any]:
    """Return what a figure depends on besides the configuration: versions, commit, hardware."""
    packages = ("dsn-lightning", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "av", "numpy")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "git_commit": git_commit(),
        **more,
    }


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` atomically, indented."""
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def git_commit() -> str | None:
    """Return the checkout's commit, with ``-dirty`` behind it if files differ; None outside a checkout."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
