"""Trainings that several runs need, made once: ``classifier.checkpoint=auto`` and its like.

What is shared is a baseline: the classifier that DSN-f keeps and that most rows of Table I answer with, or the
observation network's trunk as a clip classifier (max response, and what a sampler may start from). It has the run's own
data set, schedule, M and seed. Its folder's name holds a hash of what it depends on, gamma and N not among it, so that
the jobs of a sweep find it; whoever comes first trains it, the others wait.
"""

import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf, open_dict

from dsn_lightning.commands.compose import compose_anew
from dsn_lightning.commands.networks import flow_std, modality, observation_weights
from dsn_lightning.errors import UsageError
from dsn_lightning.runs import RunFolder

AUTO = {
    "classifier.checkpoint": "baseline",
    "observation.checkpoint": "max_response",
    "test.baseline": "baseline",
    "test.max_response": "max_response",
}
"""Keys that may be ``auto``, and what they stand for."""


def fill_in(cfg: DictConfig, train: Callable[[DictConfig], None]) -> None:
    """Put the checkpoint's path wherever ``cfg`` says ``auto``, training what is not there yet with ``train``."""
    made: dict[str, str | None] = {}
    record = RunFolder(Path(cfg.run_dir)).config_json
    before = OmegaConf.create(json.loads(record.read_text()) if cfg.resume and record.is_file() else {})
    for key, role in AUTO.items():
        if OmegaConf.select(cfg, key) != "auto":
            continue
        if (key.startswith("test.") and not cfg.test.enabled) or _is_pointless(cfg, key):
            made[role] = None
        elif OmegaConf.select(before, key) is not None:  # where the run found it when it began
            made[role] = OmegaConf.select(before, key)
        else:
            made[role] = made.get(role) or str(made_once(configuration(cfg, role), train))
        OmegaConf.update(cfg, key, made[role])


def _is_pointless(cfg: DictConfig, key: str) -> bool:
    """Whether a baseline would not look at it: it has no sampler, and is what answers its own rows."""
    return cfg.algorithm.name == "baseline" and key in ("observation.checkpoint", "test.baseline")


def configuration(cfg: DictConfig, role: str) -> DictConfig:
    """Return the configuration of the baseline that ``cfg``'s run needs as ``role``: baseline or max_response.

    Its ``run_dir`` is where it lies, or will.
    """
    groups = compose_anew("train", "algorithm=baseline", "run_dir=none")
    own = deepcopy(cfg)
    with open_dict(own):
        own.algorithm = groups.algorithm
        own.algorithm.consensus = cfg.algorithm.consensus
        if role != "baseline":
            clip_classifier = cfg.observation.get("clip_classifier")
            if clip_classifier is None:
                raise UsageError(
                    f"observation={cfg.observation.name}: has no clip_classifier to train; give PATHs in place of auto"
                )
            own.backbone.name = clip_classifier.name  # it sees the same clips
            own.backbone.network = {k: v for k, v in clip_classifier.network.items() if k != "num_classes"}
            own.backbone.weights_from = cfg.observation.get("weights_from", {})
            own.weights = observation_weights(cfg)
        own.classifier.checkpoint = own.observation.checkpoint = own.test.baseline = own.test.max_response = None
        own.test.enabled = own.progress = own.resume = False
        own.trainer.max_time = None  # of the run itself; what is shared is trained to its end
    own.run_dir = str((Path(cfg.shared.folder) / folder_name(own, digest(what_matters(own)))).absolute())
    return own


def folder_name(cfg: DictConfig, digest: str) -> str:
    """Return the name of a shared training's folder."""
    return f"{cfg.dataset.name}_{cfg.backbone.name}_M{cfg.M}_seed{cfg.seed}_{digest}"


def digest(content: dict[str, Any]) -> str:
    """Return ten hexadecimal digits that stand for plain values, whatever the order of their keys.

    >>> digest({"M": 3, "N": 4}) == digest({"N": 4, "M": 3})
    True
    """
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=5).hexdigest()


def what_matters(cfg: DictConfig) -> dict[str, Any]:
    """Return what the weights of a baseline depend on, in plain values."""
    parts = ["dataset", "backbone", "schedule", "algorithm", "trainer", "M", "seed", "weights"]
    resolved: Any = OmegaConf.to_container(cfg, resolve=True)
    content: dict[str, Any] = {part: resolved.get(part) for part in parts}
    for group, keys in {
        "schedule": ("sampler_lr", "sampler_rule", "sampler_head_lr"),
        "trainer": ("accelerator", "num_nodes", "strategy", "max_time", "check_val_every_n_epoch"),
        "backbone": ("mean", "std") if modality(cfg) == "flow" else ("flow_std",),
    }.items():
        content[group] = {key: value for key, value in content[group].items() if key not in keys}
    if modality(cfg) == "flow":
        content["backbone"]["flow_std"] = flow_std(cfg)  # older runs do not name it
    for key in ("dense_clips", "sections"):  # of the tests; what M may refer to
        content["dataset"]["reading"].pop(key, None)
    if content["dataset"].get("root") is not None:
        content["dataset"]["root"] = str(Path(content["dataset"]["root"]).expanduser().absolute())
    return content


def made_once(cfg: DictConfig, train: Callable[[DictConfig], None]) -> Path:
    """Train what ``cfg`` describes unless ``cfg.run_dir`` holds it, and return its checkpoint; one process at a time.

    Raises:
        UsageError: there is no checkpoint after all.
    """
    folder = Path(cfg.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    run = RunFolder(folder)
    checkpoint = run.last_checkpoint
    with FileLock(run.lock_beside):
        if not (checkpoint.is_file() and run.is_finished()):
            print(f"training what several runs share: {folder}", flush=True)
            cfg.resume = checkpoint.is_file()  # it was interrupted
            train(cfg)
    if not checkpoint.is_file():
        raise UsageError(f"{folder}: holds no checkpoint; remove the folder to train it again")
    return checkpoint
