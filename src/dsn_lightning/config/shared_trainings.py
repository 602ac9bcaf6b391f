"""Trainings that several runs need, made once: ``classifier.checkpoint=auto`` and its like.

What is shared is a baseline: the classifier that DSN-f keeps and that most rows of Table I answer with, or the
observation network's trunk as a clip classifier (max response, and what a sampler may start from). It has the run's
data set, schedule, M and seed. Its folder's name holds a fingerprint of what it depends on, which gamma and N are not
part of, so that the jobs of a sweep find it; the first one trains it, the others wait.
"""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf, open_dict

from dsn_lightning.config.compose import compose_anew, plain
from dsn_lightning.config.fingerprint import classifier_content, fingerprint
from dsn_lightning.config.settings import Settings
from dsn_lightning.errors import UsageError
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.tolerant_files import read_json
from dsn_lightning.selections import BASELINE_CLASSIFIER, MaxResponse

AUTO = {
    "classifier.checkpoint": BASELINE_CLASSIFIER,
    "observation.checkpoint": MaxResponse.name,
    f"test.{BASELINE_CLASSIFIER}": BASELINE_CLASSIFIER,
    f"test.{MaxResponse.name}": MaxResponse.name,
}
"""Keys that may be ``auto``, and the role of the training that they stand for."""

Train = Callable[[Settings], None]


def keys_left_to_auto(settings: Settings) -> list[str]:
    """Return the keys that are ``auto``."""
    return [key for key in AUTO if settings.value(key) == "auto"]


def with_shared_trainings(settings: Settings, train: Train) -> Settings:
    """Return settings with a checkpoint's path wherever they say ``auto``; what does not exist yet is trained.

    A resumed run keeps the paths that it was started with.
    """
    before = read_json(RunFolder(settings.folder).config_json) if settings.resume else None
    found: dict[str, str | None] = {}
    paths: dict[str, str | None] = {}
    for key in keys_left_to_auto(settings):
        role = AUTO[key]
        started_with = None if before is None else Settings.of(before).value(key)
        if _is_pointless(settings, key):
            found[role] = None
        elif started_with is not None:
            found[role] = started_with
        else:
            found[role] = found.get(role) or str(train_once(shared_settings(settings, role), train))
        paths[key] = found[role]
    return settings.changed(paths)


def _is_pointless(settings: Settings, key: str) -> bool:
    """Return whether the run would not look at it: without a test, or as a baseline, which answers its rows itself."""
    if key.startswith("test.") and not settings.test.enabled:
        return True
    return not settings.algorithm.has_sampler and key in ("observation.checkpoint", f"test.{BASELINE_CLASSIFIER}")


def shared_settings(settings: Settings, role: str) -> Settings:
    """Return the settings of the baseline that a run needs in a role of `AUTO`; ``run_dir`` is its place."""
    config = OmegaConf.create(deepcopy(dict(settings.plain)))
    assert isinstance(config, DictConfig)
    with open_dict(config):
        config.algorithm = compose_anew("train", f"algorithm={BASELINE_CLASSIFIER}", "run_dir=none").algorithm
        config.algorithm.consensus = settings.algorithm.consensus
        if role != BASELINE_CLASSIFIER:
            config.backbone = {**settings.plain["backbone"], **_trunk_as_backbone(settings)}
            config.weights = settings.observation_weights
        config.classifier.checkpoint = config.observation.checkpoint = None
        for key in AUTO:
            OmegaConf.update(config, key, None)
        config.test.enabled = config.progress = config.resume = False
        config.trainer.max_time = None  # of the run itself; what is shared is trained to its end
        config.run_dir = "none"
    shared = Settings.of(plain(config))
    folder = Path(settings.shared.folder) / folder_name(shared, fingerprint(classifier_content(shared)))
    return shared.changed({"run_dir": str(folder.absolute())})


def _trunk_as_backbone(settings: Settings) -> dict[str, Any]:
    """Return the keys of ``backbone`` with which the observation network's trunk is trained; it sees the same clips."""
    observation = settings.observation
    classifier = observation.clip_classifier or {"name": observation.name, "network": observation.trunk}
    if classifier["network"] is None:
        raise UsageError(
            f"observation={observation.name}: has no clip_classifier that could be trained; give PATHs in place of auto"
        )
    network = {key: value for key, value in classifier["network"].items() if key != "num_classes"}
    return {"name": classifier["name"], "network": network, "weights_from": observation.weights_from}


def shared_by_key(settings: Settings, key: str) -> Settings:
    """Return the settings of the training that a key with the value ``auto`` stands for."""
    return shared_settings(settings, AUTO[key])


def folder_name(settings: Settings, digest: str) -> str:
    """Return the name of a shared training's folder."""
    return f"{settings.dataset.name}_{settings.backbone.name}_M{settings.M}_seed{settings.seed}_{digest}"


def train_once(settings: Settings, train: Train) -> Path:
    """Train what the settings describe unless its folder holds it, and return its checkpoint; one process at a time."""
    run = RunFolder(settings.folder)
    run.path.mkdir(parents=True, exist_ok=True)
    with FileLock(run.lock_beside):
        if not (run.last_checkpoint.is_file() and run.is_finished()):
            print(f"training what several runs share: {run.path}", flush=True)
            train(settings.changed({"resume": run.last_checkpoint.is_file()}))  # it may have been interrupted
    if not run.last_checkpoint.is_file():
        raise UsageError(f"{run.path}: has no checkpoint; remove the folder to train it again")
    return run.last_checkpoint
