"""Videos made in memory, as RGB or as flow: what an evaluation asks of a data module, and checkpoints without training.

In a video of class ``right`` a patch moves to the right, in one of class ``left`` to the left; in flow that is the sign
of the first channel.
"""

from copy import deepcopy
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from dsn_lightning.config.build import build_recognizer
from dsn_lightning.config.compose import plain
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.trained import RECORD_KEY, Trained, checkpoint_record, load_trained
from dsn_lightning.data.inventory import BadVideoPolicy
from dsn_lightning.data.section_clips import label_vector
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.stateless_random import stateless_rng
from dsn_lightning.video.clip_reader import ClipReader
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.modality import CHANNELS
from dsn_lightning.video.time_line import Video, place_on_time_line
from dsn_lightning.video.video_info import VideoInfo

CLASSES = ["right", "left"]
GROUPS = ("algorithm", "backbone", "dataset", "observation", "schedule", "selection")
CONF = Path(__file__).resolve().parents[2] / "conf"


def composed(*overrides: str) -> Settings:
    """The settings of a command line of dsn-train."""
    return Settings.of(plain(composed_config(*overrides)))


def composed_config(*overrides: str, name: str = "train") -> DictConfig:
    """The configuration of a command line; Hydra, which takes its time, composes each choice of groups once."""
    groups = tuple(o for o in overrides if o.split("=")[0] in GROUPS)
    cfg = deepcopy(_composed(name, groups))
    for key, value in (o.split("=", 1) for o in overrides if o not in groups):
        OmegaConf.update(cfg, key, yaml.safe_load(value), force_add=False)
    return cfg


@cache
def _composed(name: str, groups: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, ["run_dir=x", *groups])


def frames_of(path: Path, indices: np.ndarray, size: tuple[int, int], modality: str) -> np.ndarray:
    """Frames (F, H, W, C) of the video that the path's name stands for, ``<class>_<number>``."""
    label, number = path.stem.split("_")
    sign = 1 if label == "right" else -1
    rng = stateless_rng(int(number), label)
    noise = rng.integers(0, 12, (60, *size, 3)).astype(np.uint8)[indices]
    top, left = rng.integers(0, size[0] - 16), rng.integers(0, size[1])
    out = noise + (122 if modality == "flow" else 40)
    for frame, i in zip(out, indices, strict=True):
        columns = (left + sign * 2 * int(i) + np.arange(12)) % size[1]
        patch = frame[top : top + 16]
        patch[:, columns] = [127 + 60 * sign, 127, 0] if modality == "flow" else [220, 90, 30]
    return np.ascontiguousarray(out[..., :2] if modality == "flow" else out)


class SyntheticData:
    """Test videos of 40 frames and more."""

    classes = CLASSES
    bad_video_policy = BadVideoPolicy("raise")
    missing = bad = MappingProxyType({"train": (), "val": (), "test": {}})

    def __init__(self, modality: str, settings: Settings, *, num_videos: int = 8) -> None:
        self.num_videos = num_videos
        backbone = settings.backbone
        self.reader = ClipReader(
            lambda video, indices, size: frames_of(video.file, np.asarray(indices), size, modality),
            Crop(backbone.frame_size, backbone.crop_size),
            backbone.frames_per_clip,
            backbone.frame_stride,
            CHANNELS[modality],
        )

    def videos(self, subset: str) -> list[Video]:
        records = [
            VideoRecord(f"{subset}_{i}", Path(f"{CLASSES[i % 2]}_{i}"), (i % 2,)) for i in range(self.num_videos)
        ]
        return [place_on_time_line(record, VideoInfo(40 + i, 25.0, 46, 34), None) for i, record in enumerate(records)]

    def loader_timeout(self) -> float:
        """No timeout."""
        return 0

    def inventory(self) -> dict:
        """All videos are there."""
        return {subset: {"listed": self.num_videos} for subset in ("train", "val", "test")}

    def batch(self, settings: Settings, start: int = 0) -> dict:
        """All videos as one training batch, (B, M, N) clips of which begin behind ``start``."""
        videos = self.videos("train")
        starts = start + np.arange(settings.M * settings.N).reshape(settings.M, settings.N) * 3
        return {
            "clips": torch.stack([self.reader(video, starts) for video in videos]),
            "targets": torch.stack([label_vector(video.record.labels, 2) for video in videos]),
            "video_id": [video.record.video_id for video in videos],
            "num_videos": len(videos),
        }


def save_checkpoint(recognizer, settings: Settings, path: Path) -> Path:
    """Write what `dsn-train` would for this recogniser."""
    record = checkpoint_record(settings, classes=CLASSES, trained_on=None)
    torch.save({"state_dict": recognizer.state_dict(), RECORD_KEY: record}, path)
    return path


def fresh(settings: Settings, path: Path, seed: int = 0) -> Trained:
    """A recogniser with weights as drawn, and batch statistics of their own, through its checkpoint file."""
    torch.manual_seed(seed)
    recognizer = build_recognizer(settings, len(CLASSES))
    for module in recognizer.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
        elif isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight)
    return load_trained(save_checkpoint(recognizer, settings, path), key="checkpoint")
