"""What the figures of a run depend on besides its configuration: versions, commit, hardware."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from dsn_lightning.cost.speed import cpu_name

_PACKAGES = ("dsn-lightning", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "av", "numpy")

MOST_DIFF = 1_000_000
"""Characters of `git_diff` at most."""


def environment(**more: Any) -> dict[str, Any]:
    """Return the content of ``environment.json``: versions, commit and hardware, then ``more``."""
    return {
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "git_commit": git_commit(),
        **more,
    }


def git_commit() -> str | None:
    """Return the checkout's commit, with ``-dirty`` appended if files differ; None outside a checkout."""
    described = _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return None if described is None else described.strip()


def git_diff() -> str | None:
    """Return how the files that git knows differ from the checkout's commit, in at most `MOST_DIFF` characters.

    A longer one is cut after a line, and says so. Empty if no file differs; None outside a checkout.
    """
    diff = _git("diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD")
    if diff is None or len(diff) <= MOST_DIFF:
        return diff
    kept = diff[: diff.rindex("\n", 0, MOST_DIFF) + 1]
    return f"{kept}[cut: {len(kept):,} of {len(diff):,} characters]\n"


def _git(*arguments: str) -> str | None:
    """Return what git prints about the package's own checkout; None outside one.

    Git runs programs that the configuration of a repository names, so an installed copy of the package does not ask
    about the repository that its environment may lie in.
    """
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1]
    if (package / "conf").is_dir() or not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")
