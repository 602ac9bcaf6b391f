"""From a configuration to objects, and from a checkpoint back to them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.algorithms.finetuning import FineTuning
from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.backbones.weights import WeightsError, load_exactly, read_weights
from dsn_lightning.commands import trained_on
from dsn_lightning.commands.networks import (
    REFUSALS,
    build_classifier,
    build_observation,
    clip_shape,
    does_not_take,
    flow_std,
    instantiate_part,
    modality,
)
from dsn_lightning.commands.source import build_source
from dsn_lightning.commands.trust import refuse_foreign_code
from dsn_lightning.cost.macs import count_macs
from dsn_lightning.data.datamodule import BatchLoading, ClipScheme, SectionClipDataModule
from dsn_lightning.data.inventory import BadVideoPolicy, Reading
from dsn_lightning.errors import UsageError
from dsn_lightning.estimators.estimate import check_estimator
from dsn_lightning.evaluation.scores import weights_hash
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.modality import FLOW_MEAN

RECORD_KEY = "dsn_lightning"
"""Where a checkpoint holds the run's configuration and classes, as plain dicts and lists."""


def build_datamodule(cfg: DictConfig) -> SectionClipDataModule:
    """Return the data module that ``cfg`` (the whole configuration) describes."""
    reading, backbone = cfg.dataset.reading, cfg.backbone
    decoder = instantiate(reading.decoder)
    fit = [s for s in reading.scales if round(s * backbone.crop_size) <= min(backbone.frame_size)]
    if not fit:
        raise UsageError(
            f"dataset.reading.scales={list(reading.scales)}: none of these times backbone.crop_size="
            f"{backbone.crop_size} fits into backbone.frame_size={list(backbone.frame_size)}"
        )
    return SectionClipDataModule(
        build_source(cfg.dataset),
        crop=Crop(tuple(backbone.frame_size), backbone.crop_size, tuple(fit), reading.flip, reading.corners),
        scheme=ClipScheme(
            num_sections=cfg.M,
            clips_per_section=cfg.algorithm.train_N,
            test_num_sections=first(cfg.test.M),
            test_clips_per_section=1 if cfg.algorithm.train_N == 1 else cfg.test.N,
            frames_per_clip=backbone.frames_per_clip,
            frame_stride=backbone.frame_stride,
        ),
        loading=BatchLoading(cfg.schedule.batch_size, cfg.num_workers, cfg.get("start_workers")),
        reading=Reading(decoder, cfg.dataset.fps, cfg.dataset.modality, reading.copies, reading.cache_frames),
        bad_videos=BadVideoPolicy(reading.on_bad_video, reading.max_bad, reading.max_missing),
        prepared=reading.prepared,
        seed=cfg.seed,
    )


def first(value: Any) -> int:
    """Return a number, or the first of a list of numbers."""
    return int(value[0] if OmegaConf.is_list(value) else value)


def build_recognizer(cfg: DictConfig, num_classes: int) -> Recognizer:
    """Return the recogniser that ``cfg`` (the whole configuration) describes, with fresh weights.

    Networks are told the number of channels where it is not RGB's.
    """
    networks: dict[str, Any] = {"classifier": build_classifier(cfg, num_classes)}
    if cfg.algorithm.name != "baseline":
        estimator = instantiate_part(cfg.estimator)
        check_estimator(estimator, key="estimator")
        networks |= {"observation": build_observation(cfg, num_classes), "estimator": estimator}
    flow = modality(cfg) == "flow"
    return instantiate(cfg.algorithm.module)(
        **networks,
        schedule=instantiate_part(cfg.schedule.rule),
        mean=list(FLOW_MEAN if flow else cfg.backbone.mean),
        std=flow_std(cfg) if flow else list(cfg.backbone.std),
        seed=cfg.seed,
        gradient_clip=cfg.schedule.gradient_clip,
        accumulate=cfg.schedule.accumulate,
        finetuning=finetuning(cfg.schedule),
    )


def check_clips(recognizer: Recognizer, cfg: DictConfig) -> None:
    """Make sure that the networks take the clips that ``cfg`` describes.

    Raises:
        UsageError: one does not; says which keys to change.
    """
    networks: list[tuple[str, nn.Module, tuple[int, ...]]] = [
        (f"backbone={cfg.backbone.name}", recognizer.classifier, (1, *clip_shape(cfg)))
    ]
    if cfg.algorithm.name != "baseline":
        sections = (1, int(cfg.N), *clip_shape(cfg))
        networks.append((f"observation={cfg.observation.name}", recognizer.observation, sections))
    for key, network, shape in networks:
        try:
            count_macs(network, *shape)
        except REFUSALS as error:
            raise does_not_take(key, cfg, error) from error


def finetuning(schedule: DictConfig) -> FineTuning:
    """Return what ``schedule`` freezes and how it forms parameter groups.

    Raises:
        UsageError: names the key, its value and the remedy.
    """
    try:
        return FineTuning(**{f.name: schedule[f.name] for f in fields(FineTuning)})
    except UsageError as error:
        raise UsageError(f"schedule.{error}") from error


def check_schedule(schedule: DictConfig) -> None:
    """Refuse a schedule that cannot be followed, before anything costly starts.

    Raises:
        UsageError: names the key, its value and the remedy.
    """
    finetuning(schedule)
    for rule in (schedule.rule, schedule.get("sampler_rule")):
        if rule is not None:
            instantiate_part(rule)


@dataclass(frozen=True)
class Trained:
    """A trained recogniser out of a checkpoint.

    Attributes:
        recognizer: with its weights, in eval mode.
        cfg: the configuration of its run.
        classes: class names; the order of its outputs.
        path: the checkpoint.
        trained_on: the videos that it, or what it began from, was trained on (`trained_on.hashes_of`); None where that
            is not known.
    """

    recognizer: Recognizer
    cfg: DictConfig
    classes: list[str]
    path: Path
    trained_on: Tensor | None = None


def load_trained(path: str | Path, *, role: str, trusted: Sequence[str] = ()) -> Trained:
    """Load a checkpoint of `dsn-train`.

    Args:
        path: the checkpoint file.
        role: the key that named it, for messages.
        trusted: the user's packages that it may build from; see `trust.refuse_foreign_code`.

    Raises:
        UsageError: the file is missing, is no such checkpoint, or is damaged.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(f"{role}={path}: no such checkpoint file")
    try:
        content = read_weights(file)
    except WeightsError as error:
        raise UsageError(f"{role}={path}: {error}") from error
    try:
        cfg = OmegaConf.create(content[RECORD_KEY]["config"])
        classes = list(content[RECORD_KEY]["classes"])
        state = content["state_dict"]
        assert isinstance(cfg, DictConfig)
        parts = [cfg.backbone, cfg.observation, cfg.algorithm, cfg.estimator, cfg.schedule]
    except (KeyError, TypeError, AttributeError, OmegaConfBaseException, AssertionError) as error:
        raise UsageError(f"{role}={path}: not a checkpoint of dsn-train") from error
    refuse_foreign_code(parts, f"{role}={path}", trusted=trusted)
    recognizer = build_recognizer(cfg, len(classes))
    try:
        load_exactly(recognizer, state)
    except WeightsError as error:
        raise UsageError(f"{role}={path}: {error}") from error
    return Trained(recognizer.eval(), cfg, classes, file, content[RECORD_KEY].get(trained_on.KEY))


def check_fits(trained: Trained, *, classes: list[str], cfg: DictConfig, role: str) -> None:
    """Refuse a checkpoint that was trained for other classes or other clips than ``cfg`` asks for.

    What a training starts from (``classifier.checkpoint``) may be of RGB where ``cfg`` is of flow; see
    `take_classifier`.

    Raises:
        UsageError: says what differs.
    """
    where = f"{role}={trained.path}"
    own, asked = modality(trained.cfg), modality(cfg)
    if own != asked and role != "classifier.checkpoint":
        raise UsageError(f"{where}: was trained on {own}, asked for is dataset.modality={asked}")
    check_classes(trained, classes, where=where)
    keys = ["frames_per_clip", "frame_stride", "frame_size", "crop_size"]
    if modality(cfg) == "rgb":
        keys += ["mean", "std"]
    compared = {key: (trained.cfg.backbone[key], cfg.backbone[key]) for key in keys}
    if modality(trained.cfg) == modality(cfg) == "flow":
        compared["flow_std"] = (flow_std(trained.cfg), flow_std(cfg))
    for key, (own, asked) in compared.items():
        if own != asked:
            raise UsageError(f"{where}: was trained with backbone.{key}={own}, asked for is {asked}")
    if role == "classifier.checkpoint" and trained.cfg.dataset.fps != cfg.dataset.fps:
        raise UsageError(
            f"{where}: was trained with dataset.fps={trained.cfg.dataset.fps}, asked for is {cfg.dataset.fps}"
        )
    if role in ("dsn", "dsn_fixed"):
        check_tested(trained.recognizer, cfg, where=where)


def check_role(trained: Trained, algorithm: str, *, key: str) -> None:
    """Refuse a checkpoint of another algorithm than the one that ``key`` is for.

    Raises:
        UsageError: names both.
    """
    if trained.cfg.algorithm.name != algorithm:
        raise UsageError(
            f"{key}={trained.path}: is a run of algorithm={trained.cfg.algorithm.name}, wanted is {algorithm}"
        )


def check_shared(own: Recognizer, baseline: Trained, *, fixed: str, key: str) -> None:
    """Refuse a baseline beside a DSN-f that was not trained with its classifier.

    Args:
        own: the DSN-f.
        baseline: the other one.
        fixed: where DSN-f's classifier comes from.
        key: that names the baseline.

    Raises:
        UsageError: names both.
    """
    if weights_hash(own.classifier) != weights_hash(baseline.recognizer.classifier):
        raise UsageError(f"{fixed}: has another classifier than {key}={baseline.path}; DSN-f keeps the baseline's")


def check_tested(recognizer: Recognizer, cfg: DictConfig, *, where: str) -> None:
    """Refuse a test with another number of clips a section than the observation network was made for, if it was.

    Raises:
        UsageError: names both.
    """
    expected = recognizer.observation.clips_per_section if isinstance(recognizer, DSN) else None
    if expected is not None and expected != cfg.test.N:
        raise UsageError(
            f"{where}: test.N={cfg.test.N}: this observation network was made for N={expected} clips per section; "
            f"use test.N={expected} or train one with N={cfg.test.N}"
        )


def check_classes(trained: Trained, classes: list[str], *, where: str) -> None:
    """Refuse a checkpoint that was trained for other classes.

    Raises:
        UsageError: says which.
    """
    if trained.classes != classes:
        raise UsageError(
            f"{where}: was trained for {len(trained.classes)} classes ({_some(trained.classes)}), "
            f"the data set has {len(classes)} ({_some(classes)})"
        )


def _some(classes: list[str]) -> str:
    return ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
