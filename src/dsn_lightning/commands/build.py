"""From a configuration to objects, and from a checkpoint back to them."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from dsn_lightning.commands.source import build_source
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.data.modality import CHANNELS, FLOW_MEAN, FLOW_STD
from dsn_lightning.data.transforms import Crop
from dsn_lightning.errors import UsageError
from dsn_lightning.finetuning import FineTuning
from dsn_lightning.recognizer import Recognizer
from dsn_lightning.weights import fit_first_convolution

RECORD_KEY = "dsn_lightning"
"""Where a checkpoint holds the run's configuration and classes, as plain dicts and lists."""

_TRUSTED = ("dsn_lightning.", "torch.optim.", "torchvision.models.")


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
        num_sections=cfg.M,
        clips_per_section=cfg.algorithm.train_N,
        test_num_sections=first(cfg.test.M),
        test_clips_per_section=1 if cfg.algorithm.train_N == 1 else cfg.test.N,
        frames_per_clip=backbone.frames_per_clip,
        frame_stride=backbone.frame_stride,
        fps=cfg.dataset.fps,
        batch_size=cfg.schedule.batch_size,
        num_workers=cfg.num_workers,
        modality=cfg.dataset.modality,
        start_workers=cfg.get("start_workers"),
        cache_frames=reading.cache_frames,
        seed=cfg.seed,
        decoder=decoder,
        on_bad_video=reading.on_bad_video,
        max_bad=reading.max_bad,
        max_missing=reading.max_missing,
        prepared=reading.prepared,
        copies=reading.copies,
    )


def modality(cfg: DictConfig) -> str:
    """Return what ``cfg``'s clips consist of: ``rgb`` or ``flow``."""
    return str(cfg.dataset.get("modality", "rgb"))


def first(value: Any) -> int:
    """Return a number, or the first of a list of numbers."""
    return int(value[0] if OmegaConf.is_list(value) else value)


def build_recognizer(cfg: DictConfig, num_classes: int) -> Recognizer:
    """Return the recogniser that ``cfg`` (the whole configuration) describes, with fresh weights.

    Networks are told the number of channels where it is not RGB's.
    """
    flow = modality(cfg) == "flow"
    channels = {"in_channels": CHANNELS["flow"]} if flow else {}
    networks: dict[str, Any] = {"classifier": instantiate(cfg.backbone.network, num_classes=num_classes, **channels)}
    if cfg.algorithm.name != "baseline":
        nested = {"trunk": channels} if flow and "trunk" in cfg.observation.network else channels
        networks |= {
            "observation": instantiate(cfg.observation.network, **nested),
            "estimator": instantiate(cfg.estimator),
        }
    return instantiate(cfg.algorithm.module)(
        **networks,
        schedule=instantiate(cfg.schedule.rule, _convert_="all"),
        mean=list(FLOW_MEAN if flow else cfg.backbone.mean),
        std=list(FLOW_STD if flow else cfg.backbone.std),
        seed=cfg.seed,
        gradient_clip=cfg.schedule.gradient_clip,
        accumulate=cfg.schedule.accumulate,
        finetuning=finetuning(cfg.schedule),
    )


def finetuning(schedule: DictConfig) -> FineTuning:
    """Return what ``schedule`` freezes and how it makes parameter groups; runs of earlier versions lack the keys."""
    return FineTuning(**{f.name: schedule[f.name] for f in fields(FineTuning) if f.name in schedule})


def check_schedule(schedule: DictConfig) -> None:
    """Refuse a schedule that cannot be followed, before anything costly starts.

    Raises:
        UsageError: names the key, its value and the remedy.
    """
    finetuning(schedule)
    for rule in (schedule.rule, schedule.get("sampler_rule")):
        if rule is not None:
            instantiate(rule, _convert_="all")


@dataclass(frozen=True)
class Trained:
    """A trained recogniser out of a checkpoint.

    Attributes:
        recognizer: with its weights, in eval mode.
        cfg: the configuration of its run.
        classes: class names; the order of its outputs.
        path: the checkpoint.
    """

    recognizer: Recognizer
    cfg: DictConfig
    classes: list[str]
    path: Path


def load_trained(path: str | Path, *, role: str) -> Trained:
    """Load a checkpoint of `dsn-train`.

    Args:
        path: the checkpoint file.
        role: the key that named it, for messages.

    Raises:
        UsageError: the file is missing or is no such checkpoint.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(f"{role}={path}: no such checkpoint file")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # garbage makes the unpickler raise anything
        raise UsageError(f"{role}={path}: cannot be read as a checkpoint of weights") from error
    if not isinstance(content, dict) or RECORD_KEY not in content:
        raise UsageError(f"{role}={path}: not a checkpoint of dsn-train")
    cfg = OmegaConf.create(content[RECORD_KEY]["config"])
    assert isinstance(cfg, DictConfig)
    parts = [cfg.backbone, cfg.observation, cfg.algorithm, cfg.estimator, cfg.schedule]
    refuse_foreign_code(parts, f"{role}={path}")
    classes = list(content[RECORD_KEY]["classes"])
    recognizer = build_recognizer(cfg, len(classes))
    recognizer.load_state_dict(content["state_dict"])
    return Trained(recognizer.eval(), cfg, classes, file)


def refuse_foreign_code(parts: list[Any], where: str) -> None:
    """A checkpoint's configuration names the classes it is built from: only known packages are imported."""
    while parts:
        part = parts.pop()
        if OmegaConf.is_dict(part):
            target = part.get("_target_")
            if target is not None and not str(target).startswith(_TRUSTED):
                raise UsageError(f"{where}: would run {target}, which is not one of {', '.join(_TRUSTED)}*")
            parts.extend(part.values())
        elif OmegaConf.is_list(part):
            parts.extend(part)


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
    if trained.classes != classes:
        raise UsageError(
            f"{where}: was trained for {len(trained.classes)} classes ({_some(trained.classes)}), "
            f"the data set {cfg.dataset.name} has {len(classes)} ({_some(classes)})"
        )
    for key in ("frames_per_clip", "frame_stride", "frame_size", "crop_size"):
        own, asked = trained.cfg.backbone[key], cfg.backbone[key]
        if own != asked:
            raise UsageError(f"{where}: was trained with backbone.{key}={own}, asked for is {asked}")

    head = getattr(trained.recognizer, "observation", None)
    wanted = getattr(head, "clips_per_section", None)
    if role in ("dsn", "dsn_fixed") and wanted is not None and wanted != cfg.test.N:
        raise UsageError(
            f"{where}: test.N={cfg.test.N}: this observation network was made for N={wanted} clips a section; "
            f"use test.N={wanted} or train one with N={cfg.test.N}"
        )


def _some(classes: list[str]) -> str:
    return ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")


def take_classifier(target: nn.Module, trained: Trained, *, cfg: DictConfig) -> None:
    """Copy a trained run's classifier into ``target``, from RGB to flow if need be; see `weights.across_modalities`.

    Raises:
        UsageError: it is another network, or of another modality in a way that cannot be bridged.
    """
    where = f"classifier.checkpoint={trained.path}"
    if trained.cfg.backbone.network != cfg.backbone.network:
        raise UsageError(f"{where}: holds a {trained.cfg.backbone.name}, asked for is backbone={cfg.backbone.name}")
    if modality(trained.cfg) != modality(cfg) and cfg.algorithm.name == "dsn_fixed":
        raise UsageError(
            f"{where}: was trained on {modality(trained.cfg)}, and algorithm=dsn_fixed keeps the classifier as it is; "
            f"give one that was trained with dataset.modality={modality(cfg)}"
        )
    target.load_state_dict(_state_for(target, trained, cfg=cfg, where=where))


def take_trunk(trunk: nn.Module, trained: Trained, *, cfg: DictConfig) -> None:
    """Copy a clip network trained as a baseline, without its classification layer, into an observation network's trunk.

    One of RGB is made one of flow if need be.

    Raises:
        UsageError: it is another network, or of flow where ``cfg`` is of RGB.
    """
    where = f"observation.checkpoint={trained.path}"
    state = _state_for(trunk, trained, cfg=cfg, where=where)
    own = {k: v for k, v in state.items() if not k.startswith("fc.")}
    wanted = {k: v.shape for k, v in trunk.state_dict().items()}
    if {k: v.shape for k, v in own.items()} != wanted:
        raise UsageError(
            f"{where}: holds a {trained.cfg.backbone.name}, which is not the trunk of this observation network"
        )
    trunk.load_state_dict(own)


def _state_for(target: nn.Module, trained: Trained, *, cfg: DictConfig, where: str) -> dict[str, Any]:
    """Return a trained classifier's weights, its first convolution adapted where ``cfg`` is of flow and it is not."""
    state = trained.recognizer.classifier.state_dict()
    own, asked = modality(trained.cfg), modality(cfg)
    if own == asked:
        return state
    if (own, asked) != ("rgb", "flow"):
        raise UsageError(f"{where}: was trained on {own}, which cannot start a run of dataset.modality={asked}")
    wanted = {name: value.shape for name, value in target.state_dict().items()}
    try:
        return fit_first_convolution(state, wanted, source_channels=CHANNELS[own], channels=CHANNELS[asked])
    except ValueError as error:
        raise UsageError(
            f"{where}: holds a {trained.cfg.backbone.name} of rgb, which cannot become the network of flow that is "
            f"asked for: {error}"
        ) from error
