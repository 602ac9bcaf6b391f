"""The settings of a training: each key once, with its type, its range and its remedy.

`Settings.of` reads a resolved configuration. Below the command line, functions take a settings object or what they need
of one; none of them sees a configuration. A value that two keys must agree on is checked here, too.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from dsn_lightning.child_process import START_METHODS
from dsn_lightning.config import setting_rules as rules
from dsn_lightning.config.plain_values import plain_copy
from dsn_lightning.datasets.records import Subset
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.splits import held_out_name
from dsn_lightning.selections import BASELINE_CLASSIFIER, MaxResponse
from dsn_lightning.video.resize import Resize
from dsn_lightning.video.sections import Placement

_READING_KEYS = ("fps", "modality", "reading", "recipe")
"""Keys of ``dataset`` that say how videos are read and trained on; all others are arguments of the data set."""

EXPORTED = "dsn_lightning.backbones.ExportedNetwork"
"""The classifier whose network is a file."""

_REFUSED_FLAGS = {
    "gradient_clip_val": "use schedule.gradient_clip, which clips each optimiser separately",
    "gradient_clip_algorithm": "use schedule.gradient_clip, the 2-norm of each optimiser's gradient",
    "accumulate_grad_batches": "use schedule.accumulate",
    "max_epochs": "use schedule.max_epochs, which the learning rates follow",
    "max_steps": "it would count both optimisers' steps; use schedule.max_epochs",
    "min_steps": "it would count both optimisers' steps; use schedule.max_epochs",
    "min_epochs": "use schedule.max_epochs",
    "val_check_interval": "use trainer.check_val_every_n_epoch",
}
"""Flags of Lightning's Trainer that do not work in manual optimisation."""

_OWN_FLAGS = {
    "callbacks": "use callbacks=early_stopping, or +callbacks.NAME._target_=CLASS for any other",
    "logger": "use logger=wandb, logger=tensorboard or logger=[wandb,tensorboard]",
    "log_every_n_steps": "loggers get one row an epoch",
    "enable_progress_bar": "use progress=true or progress=false",
    "enable_checkpointing": "checkpoints are always written; see checkpoint.every_n_batches",
    "fast_dev_run": "it trains without checkpoints and loggers; use debug=fdr",
    "barebones": "it trains without checkpoints and loggers",
    "default_root_dir": "use hydra.run.dir",
    "use_distributed_sampler": "the videos are always distributed over the processes",
    "plugins": "the run needs those that it sets",
    "reload_dataloaders_every_n_epochs": "the videos are the same in all epochs",
}
"""Flags of Lightning's Trainer that the run sets itself."""


_LARGEST_SIDE = 2**14  # pixels; what frames are scaled to


def crops_rule() -> Any:
    """Return a field for ``test.crops``."""
    return rules.one_of(1, 3, remedy="must be 1 (the centre) or 3 (both ends of the longer side as well)")


def bootstrap_rule() -> Any:
    """Return a field for ``test.bootstrap``."""
    remedy = "must be 0 (no intervals) or a whole number of at least 100"
    return rules.setting(lambda value: type(value) is int and (value == 0 or value >= 100), remedy)


def subset_rule() -> Any:
    """Return a field for ``test.subset``."""
    return rules.one_of("test", "val", remedy="must be test or val (the videos held out of training)")


def modality_rule() -> Any:
    """Return a field for ``dataset.modality``."""
    return rules.one_of("rgb", "flow")


@dataclass(frozen=True, kw_only=True)
class ReadingSettings:
    """How the videos of a data set are read (``dataset.reading``)."""

    decoder: rules.Node = rules.node()
    dense_clips: int = rules.whole(1)
    sections: int = rules.whole(1)
    placement: Placement = rules.one_of(*get_args(Placement))
    cache_frames: bool = rules.flag()
    crop_on_device: bool = rules.flag(default=False)
    scales: tuple[float, ...] = rules.numbers(remedy="must be a list of numbers above 0")
    corners: bool = rules.flag()
    resize: Resize = rules.one_of(*get_args(Resize))
    flip: float = rules.fraction()
    on_bad_video: Literal["skip", "raise"] = rules.one_of("skip", "raise")
    on_damage: Literal["flag", "refuse"] = rules.one_of("flag", "refuse")
    max_bad: float = rules.fraction()
    max_missing: float = rules.fraction()
    prepared: str | None = rules.text(optional=True)
    copies: Literal[False, "small", "frames"] = rules.one_of(False, "small", "frames")


@dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """A data set and how it is read (``dataset``)."""

    name: str = rules.text()
    modality: Literal["rgb", "flow"] = modality_rule()
    fps: float | None = rules.number(above=0, optional=True)
    reading: ReadingSettings = rules.section(ReadingSettings)
    recipe: str | None = rules.text(optional=True, default=None)
    keys: rules.Node = rules.all_keys(passed_on=True)

    @property
    def source(self) -> rules.Node:
        """The data set's ``_target_`` and arguments."""
        return {key: value for key, value in self.keys.items() if key not in _READING_KEYS}


@dataclass(frozen=True, kw_only=True)
class BackboneSettings:
    """The classifier and the clips it takes (``backbone``)."""

    name: str = rules.text()
    network: rules.Node = rules.node()
    weights: str | None = rules.text(optional=True, default=None)
    weights_from: Mapping[str, str | None] = rules.node()
    classes: tuple[str, ...] | str | None = rules.setting(
        lambda value: isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value)),
        "must be a list of class names, or a text file with a name on each line",
        optional=True,
        default=None,
        convert=lambda value: value if isinstance(value, str) else tuple(value),
    )
    weights_trained_on: Mapping[str, str] | None = rules.node(optional=True, default=None)
    frames_per_clip: int = rules.whole(1)
    frame_stride: int = rules.whole(1)
    frame_size: tuple[int, int] = rules.setting(
        lambda value: (
            isinstance(value, list | tuple)
            and len(value) == 2
            and all(rules.is_whole(side) and 1 <= side <= _LARGEST_SIDE for side in value)
        ),
        f"must be [height, width] in pixels, whole numbers from 1 to {_LARGEST_SIDE}",
        convert=tuple,
    )
    crop_size: int = rules.whole(1)
    resize: Resize = rules.one_of(*get_args(Resize), default="squash")
    mean: tuple[float, ...] = rules.numbers(3, remedy="must be three numbers, one per colour")
    std: tuple[float, ...] = rules.numbers(3, above=0, remedy="must be three numbers above 0, one per colour")
    flow_std: tuple[float, float] = rules.setting(
        lambda value: (
            isinstance(value, list | tuple)
            and len(value) == 2
            and all(isinstance(v, int | float) and v > 0 for v in value)
        ),
        "must be two positive numbers, such as [0.03,0.03]",
        convert=lambda value: tuple(map(float, value)),
    )
    cache_activations: bool = rules.flag(default=False)

    @property
    def is_exported(self) -> bool:
        """Whether the classifier is a file that cannot be trained."""
        return self.network.get("_target_") == EXPORTED


@dataclass(frozen=True, kw_only=True)
class ObservationSettings:
    """The observation network and what it starts from (``observation``)."""

    name: str = rules.text()
    network: rules.Node = rules.node()
    checkpoint: str | None = rules.text(optional=True)
    weights: str | None = rules.text(optional=True)
    weights_from: Mapping[str, str | None] = rules.node()
    clip_classifier: rules.Node | None = rules.node(optional=True, default=None)

    @property
    def trunk(self) -> rules.Node | None:
        """What its clip network is built from; None where the YAML does not say."""
        trunk = self.network.get("trunk")
        return trunk if isinstance(trunk, Mapping) else None

    @property
    def classifies(self) -> bool:
        """Whether the trunk has a classification layer, for the data set's classes."""
        return self.trunk is not None and self.trunk.get("num_classes", 0) is None


@dataclass(frozen=True, kw_only=True)
class AlgorithmSettings:
    """What is trained, and how (``algorithm``)."""

    name: str = rules.text()
    module: rules.Node = rules.node()
    train_N: int = rules.whole(1)  # noqa: N815 - the paper's N
    consensus: Literal["probabilities", "logits"] = rules.one_of("probabilities", "logits")
    warmup_epochs: int = rules.whole(0, default=0)
    exploration: float = rules.number(at_least=0, default=0.0)
    prior_kl: float = rules.number(at_least=0, default=0.0)
    recompute: bool = rules.flag(default=False)
    train_sampler: bool = rules.flag(default=True)
    rewards: Literal["computed", "stored"] = rules.one_of("computed", "stored", default="computed")

    @property
    def has_sampler(self) -> bool:
        """Whether an observation network is trained."""
        return "sampler_optimizer" in self.module

    @property
    def freezes_classifier(self) -> bool:
        """Whether the classifier is frozen (the paper's DSN-f)."""
        return self.has_sampler and self.module.get("classifier_optimizer") is None


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """Epochs, batches, learning rates (``schedule``)."""

    max_epochs: int = rules.whole(1)
    batch_size: int = rules.whole(1)
    lr: float = rules.number(above=0)
    sampler_lr: float = rules.number(above=0)
    head_lr: float | None = rules.number(above=0, optional=True)
    sampler_head_lr: float | None = rules.number(above=0, optional=True)
    momentum: float = rules.number(at_least=0)
    weight_decay: float = rules.number(at_least=0)
    decay_norm_and_bias: bool = rules.flag()
    batch_norm: Literal["trained", "frozen"] = rules.one_of("trained", "frozen")
    ema: float | None = rules.setting(
        lambda value: type(value) is float and 0 < value < 1,
        "must be a decay between 0 and 1, such as 0.99, or null (no average)",
        optional=True,
    )
    gradient_clip: float | None = rules.number(above=0, optional=True)
    accumulate: int = rules.whole(1)
    lr_test: bool = rules.flag()
    on_nonfinite: Literal["stop", "skip"] = rules.one_of("stop", "skip")
    rule: rules.Node = rules.node()
    sampler_rule: rules.Node | None = rules.node(optional=True)


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """Lightning's Trainer (``trainer``); ``flags`` are all of its keys but ``max_time`` and ``tf32``."""

    accelerator: str = rules.text(default="auto")
    devices: Any = rules.anything(default="auto")
    num_nodes: int = rules.whole(1, default=1)
    strategy: str = rules.one_of("auto", "ddp", default="auto")
    precision: str = rules.text(default="32-true")
    sync_batchnorm: bool = rules.flag(default=False)
    max_time: Any = rules.anything(default=None)
    tf32: bool = rules.flag(default=True)
    overfit_batches: int = rules.whole(0, default=0)
    keys: rules.Node = rules.all_keys(passed_on=True)

    @property
    def flags(self) -> rules.Node:
        """The Trainer's ``_target_`` and arguments."""
        return {key: value for key, value in self.keys.items() if key not in ("max_time", "tf32")}

    @property
    def max_seconds(self) -> float | None:
        """``trainer.max_time`` in seconds; None without one."""
        return None if self.max_time is None else seconds_of(self.max_time)


@dataclass(frozen=True, kw_only=True)
class TestSettings:
    """The test at the end of a training, or that of dsn-evaluate (``test``)."""

    __test__ = False  # for pytest

    enabled: bool = rules.flag(default=True)
    subset: Subset = subset_rule()
    M: tuple[int, ...] = rules.wholes(1)
    N: int = rules.whole(1)
    crops: Literal[1, 3] = crops_rule()
    random_draws: int = rules.whole(1)
    bootstrap: int = bootstrap_rule()
    figures: bool = rules.flag()
    linear_probe: bool = rules.flag()
    baseline: str | None = rules.text(optional=True)
    max_response: str | None = rules.text(optional=True)

    @property
    def networks(self) -> dict[str, str]:
        """Trained runs that the test compares with, by name -> checkpoint."""
        named = {BASELINE_CLASSIFIER: self.baseline, MaxResponse.name: self.max_response}
        return {name: path for name, path in named.items() if path is not None}


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """What the classifier starts from besides ``weights`` (``classifier``)."""

    checkpoint: str | None = rules.text(optional=True)
    head: Literal["fresh", "logistic_regression"] = rules.one_of("fresh", "logistic_regression")


@dataclass(frozen=True, kw_only=True)
class SharedSettings:
    """The folder of trainings that several runs share (``shared``)."""

    folder: str = rules.text()


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """When a training is saved in addition to the end of each epoch (``checkpoint``)."""

    every_n_batches: int | None = rules.whole(1, optional=True)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a training and its test depend on; ``plain`` is the resolved configuration, as plain values."""

    M: int = rules.whole(1)
    N: int = rules.whole(1)
    gamma: float = rules.number(at_least=0, says="is a penalty and ")
    seed: int = rules.whole(0)
    num_workers: int | str = rules.whole_or_auto(0)
    start_workers: str | None = rules.one_of(*START_METHODS, optional=True)
    weights: str | None = rules.text(optional=True)
    trust: tuple[str, ...] = rules.setting(
        lambda value: all(isinstance(name, str) for name in rules.as_tuple(value)),
        "must be a list of packages, such as [my_package]",
        convert=rules.as_tuple,
    )
    compile: bool = rules.flag(default=False)
    progress: bool = rules.flag()
    resume: Any = rules.anything()
    run_dir: str = rules.text()
    dataset: DatasetSettings = rules.section(DatasetSettings)
    backbone: BackboneSettings = rules.section(BackboneSettings)
    observation: ObservationSettings = rules.section(ObservationSettings)
    algorithm: AlgorithmSettings = rules.section(AlgorithmSettings)
    estimator: rules.Node = rules.node()
    reward: rules.Node = rules.node()
    schedule: ScheduleSettings = rules.section(ScheduleSettings)
    trainer: TrainerSettings = rules.section(TrainerSettings)
    classifier: ClassifierSettings = rules.section(ClassifierSettings)
    test: TestSettings = rules.section(TestSettings)
    shared: SharedSettings = rules.section(SharedSettings)
    checkpoint: CheckpointSettings = rules.section(CheckpointSettings)
    selection: rules.Node = rules.node()
    logger: rules.Node | None = rules.node(optional=True)
    callbacks: rules.Node | None = rules.node(optional=True, default=None)
    plain: rules.Node = rules.all_keys()

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Settings":
        """Read a resolved configuration; a `UsageError` names the key, its value and the remedy.

        References that are left in it (``${...}``) are refused; see `plain_copy`.
        """
        settings = rules.read(cls, plain_copy(plain))
        _check_trainer(settings)
        _check_warmup(settings)
        if settings.algorithm.rewards == "stored" and not settings.algorithm.freezes_classifier:
            raise UsageError("algorithm.rewards=stored: needs a classifier that stays fixed: algorithm=dsn_fixed")
        if settings.backbone.is_exported and not settings.algorithm.freezes_classifier:
            raise UsageError(
                f"algorithm={settings.algorithm.name}: backbone={settings.backbone.name} is a file, whose classifier "
                "cannot be trained; use algorithm=dsn_fixed"
            )
        if settings.algorithm.has_sampler and settings.N == 1:
            raise UsageError(
                f"N=1: algorithm={settings.algorithm.name} selects one of N clips, so there is nothing to select; use "
                f"N of at least 2, or algorithm={BASELINE_CLASSIFIER}"
            )
        return settings

    def changed(self, values: Mapping[str, Any]) -> "Settings":
        """Return these settings with some values replaced, by dotted key."""
        plain: dict[str, Any] = copy.deepcopy(dict(self.plain))
        for key, value in values.items():
            *groups, last = key.split(".")
            place = plain
            for group in groups:
                place = place[group]
            place[last] = value
        return Settings.of(plain)

    def value(self, key: str) -> Any:
        """Return the value of a dotted key."""
        value: Any = self.plain
        for name in key.split("."):
            value = value[name]
        return value

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.run_dir)

    @property
    def dataset_in_results(self) -> str:
        """The data set's name in results; its held-out videos have a separate name."""
        return held_out_name(self.dataset.name) if self.test.subset == "val" else self.dataset.name

    @property
    def observation_weights(self) -> str | None:
        """Initial weights of the observation network; ``same`` means the classifier's if both are the same network."""
        if self.observation.weights != "same":
            return self.observation.weights
        trunk = self.observation.trunk or self.observation.network
        return self.weights if trunk.get("_target_") == self.backbone.network.get("_target_") else None


def _check_trainer(settings: Settings) -> None:
    reasons = ((_REFUSED_FLAGS, "does not work in manual optimisation"), (_OWN_FLAGS, "is set by the run"))
    for flags, reason in reasons:
        for name, remedy in flags.items():
            value = settings.trainer.keys.get(name)
            if value is not None:
                raise UsageError(f"trainer.{name}={rules.shown(value)}: {reason}; {remedy}")
    if settings.trainer.precision in ("16", "16-mixed") and settings.schedule.accumulate > 1:
        raise UsageError(
            f"trainer.precision={settings.trainer.precision}: its loss scale may change between accumulated batches; "
            "use bf16-mixed, or schedule.accumulate=1"
        )


def _check_warmup(settings: Settings) -> None:
    warmup, epochs = settings.algorithm.warmup_epochs, settings.schedule.max_epochs
    if not settings.algorithm.train_sampler:  # Table I's control
        if warmup != epochs:
            raise UsageError(
                f"algorithm.train_sampler=false: algorithm.warmup_epochs={warmup} must then be schedule.max_epochs="
                f"{epochs}"
            )
    elif warmup and warmup >= epochs:
        raise UsageError(
            f"algorithm.warmup_epochs={warmup}: must be at least 0 and less than schedule.max_epochs={epochs}, or the "
            "sampler would never be trained"
        )


def seconds_of(duration: Any) -> float:
    """Return ``trainer.max_time`` in seconds: "DD:HH:MM:SS" or a mapping like {hours: 2}, as in Lightning.

    >>> seconds_of("00:01:30:00")
    5400.0
    """
    if match := re.fullmatch(r"(\d+):(\d\d):(\d\d):(\d\d)", str(duration)):
        days, hours, minutes, seconds = map(int, match.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    try:
        return timedelta(**{str(key): float(value) for key, value in dict(duration).items()}).total_seconds()
    except (TypeError, ValueError, OverflowError):
        raise UsageError(
            f"trainer.max_time={duration}: must be DD:HH:MM:SS, such as 00:11:30:00, or {{hours: 11, minutes: 30}}"
        ) from None
