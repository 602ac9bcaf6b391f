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
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from dsn_lightning.data.decoding import write_atomically
from dsn_lightning.errors import UsageError

_LIGHTNINGS_ADVICE = (
    ".*does not have many workers.*",
    ".*treespec.*",
    ".*smaller than the logging interval.*",
    ".*have no `val_dataloader`.*",
    ".*exists and is not empty.*",  # the run's folder, when a run is resumed
)


def keep_lightning_quiet() -> None:
    """Leave out advice that does not apply here; warnings about anything else stay."""
    for advice in _LIGHTNINGS_ADVICE:
        warnings.filterwarnings("ignore", message=advice)
    for logger in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(logger).setLevel(logging.WARNING)


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; released by the system when the process ends, however it ends.

    Raises:
        UsageError: another process works in it.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
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
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "git_commit": git_commit(),
        **more,
    }


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` atomically, indented."""
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def git_commit() -> str | None:
    """Return the checkout's commit, with ``-dirty`` behind it if files differ; None outside a checkout."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
