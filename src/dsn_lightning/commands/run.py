"""What every command does around its work: checks, one-line errors, and a record of the environment."""

import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch
from omegaconf import DictConfig, OmegaConf

from dsn_lightning.data.decoding import write_atomically
from dsn_lightning.errors import UsageError

_REFUSED_FLAGS = {
    "gradient_clip_val": "use schedule.gradient_clip, which clips each optimiser by itself",
    "gradient_clip_algorithm": "use schedule.gradient_clip, the 2-norm of each optimiser's gradient",
    "accumulate_grad_batches": "use schedule.accumulate",
    "max_epochs": "use schedule.max_epochs, which the learning rates follow",
    "max_steps": "it would count both optimisers' steps; use schedule.max_epochs",
    "min_steps": "it would count both optimisers' steps; use schedule.max_epochs",
    "min_epochs": "use schedule.max_epochs",
}


_LIGHTNINGS_ADVICE = (
    ".*does not have many workers.*",
    ".*treespec.*",
    ".*smaller than the logging interval.*",
    ".*have no `val_dataloader`.*",
    ".*exists and is not empty.*",  # metrics.csv's folder is the run's
)


def config_folder() -> str:
    """Return the folder of configurations: the checkout's ``conf/``, or the copy in the installed package."""
    package = Path(__file__).resolve().parents[1]
    folder = package / "conf"
    return str(folder if folder.is_dir() else package.parents[1] / "conf")


def run(work: Callable[[DictConfig], Any], cfg: DictConfig, *, command: str) -> None:
    """Run ``work(cfg)``; what the user got wrong is printed as one line, exit code 2."""
    for advice in _LIGHTNINGS_ADVICE:
        warnings.filterwarnings("ignore", message=advice)
    for logger in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    try:
        check(cfg)
        work(cfg)
    except UsageError as error:
        stop(command, str(error))


def stop(command: str, message: str) -> NoReturn:
    """Print one line and exit with code 2."""
    print(f"{command}: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def check(cfg: DictConfig) -> None:
    """Refuse settings that make no sense, before anything costly starts.

    Raises:
        UsageError: names the key, its value and the remedy.
    """
    for key in ("M", "N", "test.M", "test.N", "test.random_draws", "schedule.max_epochs", "schedule.batch_size",
                "schedule.accumulate"):  # fmt: skip
        value = OmegaConf.select(cfg, key)
        for number in value if OmegaConf.is_list(value) else [value]:
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
                raise UsageError(f"{key}={number}: must be a whole number of at least 1")
    gamma = cfg.get("gamma", 0)
    if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not gamma >= 0:
        raise UsageError(f"gamma={gamma}: is a penalty and must be a number of at least 0")
    if isinstance(cfg.seed, bool) or not isinstance(cfg.seed, int) or cfg.seed < 0:
        raise UsageError(f"seed={cfg.seed}: must be a whole number of at least 0")
    if "trainer" in cfg:
        _check_trainer(cfg)


def _check_trainer(cfg: DictConfig) -> None:
    for flag, remedy in _REFUSED_FLAGS.items():
        if cfg.trainer.get(flag) is not None:
            raise UsageError(f"trainer.{flag}={cfg.trainer[flag]}: does not work in manual optimisation; {remedy}")
    devices = cfg.trainer.get("devices", 1)
    if devices not in (1, "1", "auto", [0]) or cfg.trainer.get("num_nodes", 1) != 1:
        raise UsageError(f"trainer.devices={devices}: training in several processes is not available; use devices=1")
    warmup = cfg.algorithm.get("warmup_epochs", 0)
    if not isinstance(warmup, int) or warmup < 0 or (warmup and warmup >= cfg.schedule.max_epochs):
        raise UsageError(
            f"algorithm.warmup_epochs={warmup}: must be at least 0 and less than schedule.max_epochs="
            f"{cfg.schedule.max_epochs}, or the sampler would never be trained"
        )


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
        "git_commit": _git_commit(),
        **more,
    }


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` atomically, indented."""
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _git_commit() -> str | None:
    """Return the checkout's commit, with ``-dirty`` behind it if files differ; None outside a checkout."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
