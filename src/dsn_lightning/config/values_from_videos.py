"""Settings that are ``auto``: chosen from the videos of the training set and from the networks, before anything else.

Interpolations may refer to them, so they are set in the configuration while its references are still unresolved.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from dsn_lightning.config.compose import plain
from dsn_lightning.config.quick_imports import quick_imports
from dsn_lightning.config.settings import Settings
from dsn_lightning.errors import UsageError
from dsn_lightning.launch.process_rank import process_rank
from dsn_lightning.video.sections import num_possible_starts
from dsn_lightning.video.time_line import Video

if TYPE_CHECKING:
    from dsn_lightning.data.datamodule import ClipScheme

_AUTO = "auto"
_MAX_SECTIONS = 6
"""M of the paper's Table I for untrimmed videos."""
_STEPS, _EPOCHS = 300, (6, 60)
"""Steps of the classifier that make a training, and the range of epochs that they may take."""
_PLACEHOLDERS = {"M": 1, "schedule.max_epochs": 10**6}
"""Stand-ins with which the videos can be found; what refers to them is not used yet."""


def with_values_from_videos(cfg: DictConfig, *, check: Callable[[Settings], None] = lambda _: None) -> DictConfig:
    """Return the configuration of a training with a value in place of each ``auto`` that its videos decide.

    These are ``M`` and ``schedule.max_epochs``, from the training videos, which are indexed for it, and ``weights`` and
    ``observation.weights``, from the networks. What was chosen is printed, with the reason. ``check`` is called before
    anything is built from the settings.

    Raises:
        UsageError: there are no training videos, or another setting is wrong.
    """
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    for key, weights in _weights(cfg).items():
        OmegaConf.update(cfg, key, weights)
    keys = [key for key in _PLACEHOLDERS if OmegaConf.select(cfg, key) == _AUTO]
    if keys:
        for key, value in _of_videos(cfg, keys, check).items():
            OmegaConf.update(cfg, key, value)
    return cfg


def _weights(cfg: DictConfig) -> dict[str, str | None]:
    """Return what ``auto`` means for the weights of each network: the first public ones, or those of the classifier."""
    found: dict[str, str | None] = {}
    if cfg.weights == _AUTO:
        found["weights"] = _first_public(cfg.backbone.weights_from)
    if OmegaConf.select(cfg, "observation.weights") == _AUTO:
        trunk = OmegaConf.select(cfg, "observation.network.trunk") or cfg.observation.network
        is_same = trunk.get("_target_") == cfg.backbone.network.get("_target_")
        found["observation.weights"] = "same" if is_same else _first_public(cfg.observation.weights_from)
    return found


def _first_public(weights_from: Mapping[str, str | None]) -> str | None:
    return next((name for name, address in weights_from.items() if address), None)


def _of_videos(cfg: DictConfig, keys: Sequence[str], check: Callable[[Settings], None]) -> dict[str, int]:
    trial = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])  # a sweep composes it as well
    OmegaConf.set_struct(trial, False)
    for key in keys:
        OmegaConf.update(trial, key, _PLACEHOLDERS[key])
    OmegaConf.update(trial, "run_dir", "unused")  # a sweep that composes its jobs has none
    settings = Settings.of(plain(trial))
    check(settings)
    with quick_imports():
        from dsn_lightning.config.build import build_datamodule  # takes seconds

    data = build_datamodule(settings)
    data.prepare_data()
    data.setup()
    videos = data.videos("train")
    if not videos:
        raise UsageError(f"dataset={settings.dataset.name}: has no training videos")
    found: dict[str, int] = {}
    lines = []
    if "M" in keys:
        found["M"], line = _sections(videos, data.scheme, settings)
        lines.append(line)
    if "schedule.max_epochs" in keys:
        batch = settings.schedule.batch_size * settings.schedule.accumulate
        found["schedule.max_epochs"] = epochs = num_epochs(len(videos), batch)
        steps = epochs * math.ceil(len(videos) / batch)
        lines.append(f"schedule.max_epochs={epochs}: {steps} steps of {batch} of the {len(videos)} training videos")
    if settings.progress and process_rank() == 0:
        print("\n".join(lines), flush=True)
    return found


def num_epochs(num_videos: int, batch_size: int) -> int:
    """Return how many epochs make 300 steps, 6 to 60.

    >>> num_epochs(50, 8), num_epochs(120, 8), num_epochs(5000, 8)
    (43, 20, 6)
    """
    least, most = _EPOCHS
    return min(max(math.ceil(_STEPS / math.ceil(num_videos / batch_size)), least), most)


def num_sections(num_frames: float, clip_span: int) -> int:
    """Return how many clips of ``clip_span`` frames fit side by side into ``num_frames``, rounded, 1 to 6.

    >>> num_sections(22, 8), num_sections(170, 8), num_sections(5, 8)
    (3, 6, 1)
    """
    return min(max(round(num_frames / clip_span), 1), _MAX_SECTIONS)


def _sections(videos: Sequence[Video], scheme: "ClipScheme", settings: Settings) -> tuple[int, str]:
    """Return M and the line that says why."""
    median = statistics.median(video.num_frames for video in videos)
    count, clips_per_section = num_sections(median, scheme.clip_span), settings.N
    fps = settings.dataset.fps
    unit, scale = ("frames", 1.0) if fps is None else ("s", fps)
    length, clip = median / scale, scheme.clip_span / scale
    line = f"M={count}: the median training video has {length:.3g} {unit}, a clip {clip:.3g} {unit}"
    wanted = count * clips_per_section
    few = sum(num_possible_starts(video.num_frames, scheme.clip_span) < wanted for video in videos)
    if few:
        line += (
            f"; in {few} of {len(videos)} videos some of the {wanted} candidate clips ({count}:{clips_per_section}) "
            "coincide, so there is little to select"
        )
    return count, line
