"""When two trainings are the same: what their weights depend on, however and wherever they were run.

Left out are where the run lies, its logging, the device, the number of loader processes, and all that concerns tests.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dsn_lightning.commands import shared
from dsn_lightning.errors import UsageError
from dsn_lightning.runs import RunFolder
from dsn_lightning.runs.reading import find_runs

_OF_SAMPLERS = ("gamma", "exploration", "sampler_optimizer", "sampler_schedule")
"""Arguments of `dsn_lightning.algorithms.DSN`."""

Known = Mapping[str, str]
"""Checkpoints that are not there yet -> what their training will be known by."""


def training_digest(cfg: DictConfig, known: Known | None = None) -> str:
    """Return what a training is known by. A baseline has the same one as in `shared`, so either finds the other's.

    Args:
        cfg: the whole configuration of ``dsn-train``.
        known: see `Known`.
    """
    content = shared.what_matters(cfg)
    if cfg.algorithm.name != "baseline":
        resolved: Any = OmegaConf.to_container(cfg, resolve=True)
        content |= {"N": resolved["N"], "schedule": resolved["schedule"]}
        if cfg.algorithm.get("train_sampler", True):
            content |= {part: resolved[part] for part in ("gamma", "estimator", "observation")}
            content["observation"].pop("clip_classifier", None)  # what it is trained to, `checkpoint` says
            content["observation"]["checkpoint"] = _start(cfg, "observation.checkpoint", known or {})
        else:  # what is the sampler's alone is never used
            module = content["algorithm"]["module"]
            kept = {key: value for key, value in module.items() if key not in _OF_SAMPLERS}
            content["algorithm"] = {**content["algorithm"], "module": kept, "exploration": None}
    start = _start(cfg, "classifier.checkpoint", known or {})
    if start is not None:
        content["classifier"] = start
    return shared.digest(content)


def _start(cfg: DictConfig, key: str, known: Known) -> str | None:
    """Return what stands for the training that ``key`` names; a file of another origin is known by its path."""
    path = OmegaConf.select(cfg, key)
    if path is None:
        return None
    if path == "auto":
        return training_digest(shared.configuration(cfg, shared.AUTO[key]))
    path = str(Path(path).expanduser().absolute())
    if path in known:
        return known[path]
    record = _record(Path(path).parent.parent)
    if record is None:
        return path
    name = Path(path).name
    return training_digest(record) + ("" if name == Path(RunFolder.last_checkpoint.name).name else f" {name}")


def _record(folder: Path) -> DictConfig | None:
    """Return the configuration that a run has left in its folder; None if there is none, or not a whole one."""
    try:
        cfg = OmegaConf.create(json.loads(RunFolder(folder).config_json.read_text()))
    except (OSError, ValueError):
        return None
    return cfg if isinstance(cfg, DictConfig) else None


def finished_trainings(folders: Iterable[Path]) -> dict[str, Path]:
    """Return the trainings in and below some folders that have ended well: digest -> folder, the first of each.

    What is no folder, or holds no run, has none.
    """
    found: dict[str, Path] = {}
    for top in folders:
        try:
            runs = find_runs(top) if top.is_dir() else []
        except UsageError:  # nothing in it yet
            continue
        for run in runs:
            if is_trained(run) and (cfg := _record(run)) is not None and "algorithm" in cfg:
                found.setdefault(training_digest(cfg), run)
    return found


def is_trained(folder: Path) -> bool:
    """Tell whether a training has ended well, with no epoch left to do."""
    run = RunFolder(folder)
    return run.last_checkpoint.is_file() and run.is_finished() and not run.stopped_early()
