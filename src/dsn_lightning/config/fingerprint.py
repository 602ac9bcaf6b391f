"""When two trainings are the same: a fingerprint of what their weights depend on, however and wherever they ran.

Not part of it are the run's place, its logging, the device, the number of loader processes, and all test settings.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dsn_lightning.config.settings import Settings
from dsn_lightning.errors import UsageError
from dsn_lightning.runs import find_runs
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.tolerant_files import read_json

_PARTS = ("dataset", "backbone", "schedule", "algorithm", "trainer", "M", "seed", "weights")
_UNRELATED = {
    "schedule": ("sampler_lr", "sampler_rule", "sampler_head_lr"),
    "trainer": ("accelerator", "num_nodes", "strategy", "max_time", "check_val_every_n_epoch"),
}
"""Keys that the weights of a classifier do not depend on."""

_SAMPLER_ARGUMENTS = ("gamma", "exploration", "sampler_optimizer", "sampler_schedule")
"""Arguments of `dsn_lightning.algorithms.DSN` that matter to the observation network alone."""

Known = Mapping[str, str]
"""Checkpoints that do not exist yet -> the fingerprint of their training."""

Auto = Callable[[Settings, str], Settings]
"""Returns the settings of the training that a key with the value ``auto`` stands for."""


def fingerprint(content: Mapping[str, Any]) -> str:
    """Return ten hexadecimal digits that stand for plain values, whatever the order of their keys.

    >>> fingerprint({"M": 3, "N": 4}) == fingerprint({"N": 4, "M": 3})
    True
    """
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=5).hexdigest()


def classifier_content(settings: Settings) -> dict[str, Any]:
    """Return what the weights of a baseline depend on, as plain values."""
    content: dict[str, Any] = json.loads(json.dumps({part: settings.plain.get(part) for part in _PARTS}))
    flow = settings.dataset.modality == "flow"
    for group, keys in (_UNRELATED | {"backbone": ("mean", "std") if flow else ("flow_std",)}).items():
        content[group] = {key: value for key, value in content[group].items() if key not in keys}
    if flow:
        content["backbone"]["flow_std"] = list(settings.backbone.flow_std)
    for key in ("dense_clips", "sections"):  # of the tests; what M may refer to
        content["dataset"]["reading"].pop(key, None)
    if content["dataset"].get("root") is not None:
        content["dataset"]["root"] = str(Path(content["dataset"]["root"]).expanduser().absolute())
    return content


def training_fingerprint(settings: Settings, auto: Auto, known: Known | None = None) -> str:
    """Return a training's fingerprint; a baseline has the same one as where it is shared, so either finds the other's.

    Args:
        settings: of ``dsn-train``.
        auto: see `Auto`; `shared_trainings.shared_by_key`.
        known: see `Known`.
    """
    content = classifier_content(settings)
    algorithm = settings.algorithm
    if algorithm.has_sampler:
        plain = json.loads(json.dumps({key: settings.plain[key] for key in _SAMPLER_KEYS}))
        content |= {"N": plain["N"], "schedule": plain["schedule"]}
        if algorithm.train_sampler:
            content |= {part: plain[part] for part in ("gamma", "estimator", "observation")}
            content["observation"].pop("clip_classifier", None)  # counts through the checkpoint alone
            content["observation"]["checkpoint"] = _start(settings, "observation.checkpoint", auto, known or {})
        else:
            module = {k: v for k, v in content["algorithm"]["module"].items() if k not in _SAMPLER_ARGUMENTS}
            content["algorithm"] = {**content["algorithm"], "module": module, "exploration": None}
    start = _start(settings, "classifier.checkpoint", auto, known or {})
    if start is not None:
        content["classifier"] = start
    return fingerprint(content)


_SAMPLER_KEYS = ("N", "schedule", "gamma", "estimator", "observation")


def _start(settings: Settings, key: str, auto: Auto, known: Known) -> str | None:
    """Return what stands for the training that ``key`` names; a file of another origin is known by its path."""
    path = settings.value(key)
    if path is None:
        return None
    if path == "auto":
        return training_fingerprint(auto(settings, key), auto)
    path = str(Path(path).expanduser().absolute())
    if path in known:
        return known[path]
    record = read_json(RunFolder(Path(path).parent.parent).config_json)
    if not isinstance(record, dict):
        return path
    last = Path(path).name == Path(RunFolder.last_checkpoint.name).name
    return training_fingerprint(Settings.of(record), auto) + ("" if last else f" {Path(path).name}")


def finished_trainings(folders: Iterable[Path], auto: Auto) -> dict[str, Path]:
    """Return the finished trainings in and below some folders: fingerprint -> folder, the first of each.

    A path that is no folder, or holds no run, contributes none.
    """
    found: dict[str, Path] = {}
    for top in folders:
        try:
            runs = find_runs(top) if top.is_dir() else []
        except UsageError:  # nothing in it yet
            continue
        for folder in runs:
            run = RunFolder(folder)
            record = read_json(run.config_json) if is_trained(run) else None
            if isinstance(record, dict) and "algorithm" in record:
                found.setdefault(training_fingerprint(Settings.of(record), auto), folder)
    return found


def is_trained(run: RunFolder) -> bool:
    """Return whether a training has ended well, with no epochs left."""
    return run.last_checkpoint.is_file() and run.is_finished() and not run.stopped_early()
