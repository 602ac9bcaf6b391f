"""Trainings that several runs need, made once: ``classifier.checkpoint=auto`` and its like.

What is shared is a baseline: the classifier that DSN-f keeps and that most rows of Table I answer with, or the
observation network's trunk as a clip classifier (max response, and what a sampler may start from). It has the run's
data set, schedule, M and seed. Its folder's name holds a fingerprint of what its weights depend on, which gamma and N
are not part of, so that the jobs of a sweep find it; the first one trains it, the others wait. Not part of a
fingerprint are a run's place, its logging, the device, the number of loader processes, and all test settings.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf, open_dict

from dsn_lightning.config.compose import compose_anew, plain
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.stored_places import refuse_links
from dsn_lightning.config.stored_settings import stored_settings
from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import refuse_link, user_path
from dsn_lightning.runs import find_runs
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

_PARTS = ("dataset", "backbone", "schedule", "algorithm", "trainer", "M", "seed", "weights")
_SAMPLER_PARTS = ("N", "schedule", "gamma", "estimator", "reward", "observation")
_UNRELATED = {
    "algorithm": ("recompute",),
    "schedule": ("sampler_lr", "sampler_rule", "sampler_head_lr"),
    "trainer": ("accelerator", "num_nodes", "strategy", "max_time", "check_val_every_n_epoch"),
}
"""Keys that the weights of a classifier do not depend on."""

_OPTIONAL = ("weights", "classes")
_MOST_STARTS = 8  # trainings that start from each other; each may name two
"""Keys of ``backbone`` that not every YAML has; null stands for their absence."""

_SAMPLER_ARGUMENTS = ("exploration", "prior_kl", "sampler_optimizer", "sampler_schedule")
"""Arguments of `dsn_lightning.algorithms.DSN` that matter to the observation network alone."""

Known = Mapping[str, str]
"""Checkpoints that do not exist yet -> the fingerprint of their training."""


def keys_left_to_auto(settings: Settings) -> list[str]:
    """Return the keys that are ``auto``."""
    return [key for key in AUTO if settings.value(key) == "auto"]


def with_shared_trainings(settings: Settings, train: Train) -> Settings:
    """Return settings with a checkpoint's path wherever they say ``auto``; what does not exist yet is trained.

    A resumed run keeps the paths that it was started with.
    """
    own = RunFolder(settings.folder).config_json
    before = read_json(own) if settings.resume else None
    found: dict[str, str | None] = {}
    paths: dict[str, str | None] = {}
    for key in keys_left_to_auto(settings):
        role = AUTO[key]
        started_with = None if before is None else stored_settings(before, where=str(own)).value(key)
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
    config = OmegaConf.create(deepcopy(dict(settings.plain)))  # without references; those resolved here are of conf/
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
        config.test.enabled = config.resume = False
        config.callbacks = {}
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
    weights = {"weights": None, "weights_from": observation.weights_from, "weights_trained_on": None, "classes": None}
    return {"name": classifier["name"], "network": network, **weights}


def folder_name(settings: Settings, digest: str) -> str:
    """Return the name of a shared training's folder, which leads nowhere else, whatever the networks' names are."""
    name = f"{settings.dataset.name}_{settings.backbone.name}_M{settings.M}_seed{settings.seed}_{digest}"
    return re.sub(r"[^\w.-]+", "_", name)


def train_once(settings: Settings, train: Train) -> Path:
    """Train what the settings describe unless its folder holds it, and return its checkpoint; one process at a time."""
    run = RunFolder(settings.folder)
    refuse_link(run.path)
    refuse_link(run.lock_beside)
    refuse_links(run.path, where="shared.folder")
    run.path.mkdir(parents=True, exist_ok=True)
    with FileLock(run.lock_beside):
        if not (run.last_checkpoint.is_file() and run.is_finished()):
            print(printable(f"training what several runs share: {run.path}"), flush=True)
            train(settings.changed({"resume": run.was_saved()}))  # it may have been interrupted
    if not run.last_checkpoint.is_file():
        raise UsageError(f"{run.path}: has no checkpoint; remove the folder to train it again")
    return run.last_checkpoint


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
    of_backbone = ("weights_trained_on", *(("mean", "std") if flow else ("flow_std",)))
    for group, keys in (_UNRELATED | {"backbone": of_backbone}).items():
        content[group] = {key: value for key, value in content[group].items() if key not in keys}
    content["backbone"] = {k: v for k, v in content["backbone"].items() if v is not None or k not in _OPTIONAL}
    content["algorithm"]["module"].pop("recompute", None)
    content["backbone"]["network"].pop("checkpoint_activations", None)
    content["head"] = settings.classifier.head
    if flow:
        content["backbone"]["flow_std"] = list(settings.backbone.flow_std)
    for key in ("dense_clips", "sections"):  # of the tests; what M may refer to
        content["dataset"]["reading"].pop(key, None)
    if content["dataset"].get("root") is not None:
        content["dataset"]["root"] = str(user_path(content["dataset"]["root"]).absolute())
    return content


def training_fingerprint(settings: Settings, known: Known | None = None, *, seen: frozenset[str] = frozenset()) -> str:
    """Return a training's fingerprint; a baseline has the same one as where it is shared, so each finds the other's.

    ``seen`` are checkpoints of trainings that start from this one; damaged records may lead back to them.
    """
    content = classifier_content(settings)
    algorithm = settings.algorithm
    if algorithm.has_sampler:
        plain = json.loads(json.dumps({key: settings.plain[key] for key in _SAMPLER_PARTS}))
        content |= {"N": plain["N"], "schedule": plain["schedule"]}
        if algorithm.train_sampler:
            content |= {part: plain[part] for part in ("gamma", "estimator", "reward", "observation")}
            content["observation"].pop("clip_classifier", None)  # counts through the checkpoint alone
            content["observation"]["checkpoint"] = _start(settings, "observation.checkpoint", known or {}, seen)
        else:
            module = {k: v for k, v in content["algorithm"]["module"].items() if k not in _SAMPLER_ARGUMENTS}
            content["algorithm"] = {**content["algorithm"], "module": module, "exploration": None, "prior_kl": None}
    if callbacks := settings.plain.get("callbacks"):  # they may stop it early
        content["callbacks"] = json.loads(json.dumps(callbacks))
    start = _start(settings, "classifier.checkpoint", known or {}, seen)
    if start is not None:
        content["classifier"] = start
    return fingerprint(content)


def _start(settings: Settings, key: str, known: Known, seen: frozenset[str]) -> str | None:
    """Return what stands for the training that ``key`` names; a file of another origin is known by its path."""
    path = settings.value(key)
    if path is None:
        return None
    if path == "auto":
        return training_fingerprint(shared_settings(settings, AUTO[key]))
    path = str(user_path(path).absolute())
    if path in known:
        return known[path]
    file = RunFolder(Path(path).parent.parent).config_json
    record = read_json(file)
    if not isinstance(record, dict) or path in seen or len(seen) >= _MOST_STARTS:
        return path
    last = Path(path).name == Path(RunFolder.last_checkpoint.name).name
    digest = training_fingerprint(stored_settings(record, where=str(file)), seen=seen | {path})
    return digest + ("" if last else f" {Path(path).name}")


def finished_trainings(folders: Iterable[Path]) -> dict[str, Path]:
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
                settings = stored_settings(record, where=str(run.config_json))
                try:
                    found.setdefault(training_fingerprint(settings), folder)
                except UsageError as error:
                    raise UsageError(f"{run.config_json}: {error}") from error
    return found


def is_trained(run: RunFolder) -> bool:
    """Return whether a training has ended well, with no epochs left."""
    return run.last_checkpoint.is_file() and run.is_finished() and not run.stopped_early()
