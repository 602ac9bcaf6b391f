"""From a configuration to the two networks alone, and to what they cost; imports nothing of training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from dsn_lightning.backbones.clip_network import ClipNetwork, check_clip_network, frozen_part
from dsn_lightning.cost.macs import count_parameters, macs_per_clip
from dsn_lightning.errors import UsageError
from dsn_lightning.observations.observation_network import ObservationNetwork, check_observation_network
from dsn_lightning.video.modality import CHANNELS, FLOW_STD

REFUSALS = (UsageError, InstantiationException, RuntimeError, ValueError, AssertionError, TypeError)
"""What networks raise that are not made for such clips."""

ClipShape = tuple[int, int, int, int]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class NetworkCost:
    """What one network costs.

    Attributes:
        name: of its configuration.
        parameters: weights, frozen ones included.
        macs: multiply-adds of a clip.
    """

    name: str
    parameters: int
    macs: float


def instantiate_part(node: Any, **arguments: Any) -> Any:
    """Return the object that a node of a configuration describes.

    Raises:
        UsageError: an argument is wrong. The library names the argument; the node's key is added here.
    """
    try:
        return instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        if not isinstance(error.__cause__, UsageError):
            raise
        key = str(error).rpartition("full_key: ")[2]
        raise UsageError(f"{key}.{error.__cause__}") from error


def build_classifier(cfg: DictConfig, num_classes: int) -> ClipNetwork:
    """Return the classifier of ``cfg.backbone`` with fresh weights; it is told the channels unless they are RGB's.

    Raises:
        UsageError: it does not satisfy the contract of a clip network.
    """
    network: ClipNetwork = instantiate_part(cfg.backbone.network, num_classes=num_classes, **_channels(cfg))
    check_clip_network(network, key="backbone.network")
    return network


def build_observation(cfg: DictConfig, num_classes: int) -> ObservationNetwork:
    """Return the observation network of ``cfg.observation`` for ``cfg.N`` clips a section, likewise.

    A trunk whose ``num_classes`` is null has the data set's.

    Raises:
        UsageError: it does not satisfy the contract of an observation network.
    """
    own = _channels(cfg)
    if classifies(cfg):
        own["num_classes"] = num_classes
    nested = {"trunk": own} if own and "trunk" in cfg.observation.network else own
    network: ObservationNetwork = instantiate_part(cfg.observation.network, **nested)
    check_observation_network(network, key="observation.network")
    return network


def classifies(cfg: DictConfig) -> bool:
    """Tell whether the observation network's trunk has a classification layer."""
    return cfg.observation.network.get("trunk", {}).get("num_classes", 0) is None


def _channels(cfg: DictConfig) -> dict[str, Any]:
    return {} if modality(cfg) == "rgb" else {"in_channels": CHANNELS[modality(cfg)]}


def modality(cfg: DictConfig) -> str:
    """Return what ``cfg``'s clips consist of: ``rgb`` or ``flow``."""
    return str(cfg.dataset.get("modality", "rgb"))


def flow_std(cfg: DictConfig) -> list[float]:
    """Return the deviation that ``cfg``'s flow is normalised with, on values in [0, 1]; older runs do not name it.

    Raises:
        UsageError: it is not two positive numbers.
    """
    std = cfg.backbone.get("flow_std", FLOW_STD)
    found = list(std) if isinstance(std, Sequence) and not isinstance(std, str) else []
    if len(found) != CHANNELS["flow"] or not all(isinstance(value, int | float) and value > 0 for value in found):
        raise UsageError(f"backbone.flow_std={std}: must be two positive numbers, such as [0.03,0.03]")
    return [float(value) for value in found]


def observation_weights(cfg: DictConfig) -> str | None:
    """Return what the observation network starts from; ``same`` means the classifier's, where its network is one."""
    weights = cfg.observation.get("weights")
    if weights != "same":
        return None if weights is None else str(weights)
    trunk = cfg.observation.network.get("trunk", cfg.observation.network)
    alike = trunk.get("_target_") == cfg.backbone.network.get("_target_")
    return cfg.get("weights") if alike else None


def clip_shape(cfg: DictConfig) -> ClipShape:
    """Return (C, T, H, W) of the clips that both networks are given."""
    b = cfg.backbone
    return CHANNELS[modality(cfg)], b.frames_per_clip, b.crop_size, b.crop_size


def input_shape(cfg: DictConfig) -> ClipShape:
    """Return (C, T, H, W) of what both networks are given in training: `clip_shape`, or that of stored activations."""
    clip = clip_shape(cfg)
    if not cfg.backbone.get("cache_activations"):
        return clip
    channels, frames, *size = clip
    frozen = frozen_part(_without_memory(lambda: build_classifier(cfg, 1)))
    channels, *size = frozen.eval()(torch.empty(1, channels, *size, device="meta")).shape[1:]
    return channels, frames, size[0], size[1]


def _without_memory(build: Callable[[], Network]) -> Network:
    """Build a network on the meta device, or with memory where it draws numbers there, as RegNets do."""
    try:
        with torch.device("meta"):
            return build()
    except REFUSALS as error:
        if "out of meta tensor" not in str(error):
            raise
    return build().to("meta")


def count_classifier(cfg: DictConfig, *, clip: ClipShape | None = None) -> NetworkCost:
    """Count the classifier for ``cfg.num_classes``, which is built without memory, on its clips or on others.

    Raises:
        UsageError: it cannot be built, or does not take such clips.
    """
    try:
        network = _without_memory(lambda: build_classifier(cfg, cfg.num_classes))
        return NetworkCost(
            cfg.backbone.name, count_parameters(network), macs_per_clip(network, clip or clip_shape(cfg))
        )
    except REFUSALS as error:
        raise does_not_take(f"backbone={cfg.backbone.name}", cfg, error) from error


def count_observation(cfg: DictConfig, clips_per_section: int, *, clip: ClipShape | None = None) -> NetworkCost:
    """Count the observation network for sections of N clips, likewise; its head is shared out among them.

    Raises:
        UsageError: it cannot be built, or does not take such clips.
    """
    own = cfg.copy()
    own.N = clips_per_section
    try:
        network = _without_memory(lambda: build_observation(own, own.num_classes))
        macs = macs_per_clip(network, clip or clip_shape(own), clips_per_section=clips_per_section)
        return NetworkCost(own.observation.name, count_parameters(network), macs)
    except REFUSALS as error:
        raise does_not_take(f"observation={own.observation.name}", own, error) from error


def does_not_take(key: str, cfg: DictConfig, error: Exception) -> UsageError:
    """Return what to say when a network, given with ``key``, has refused the clips of ``cfg``."""
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, UsageError):
        return UsageError(f"{key}: {error}")
    b = cfg.backbone
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UsageError(
        f"{key}: does not take clips of {b.frames_per_clip} frames of {b.crop_size}x{b.crop_size} pixels ({reason}); "
        "set backbone.frames_per_clip, backbone.crop_size and backbone.frame_size to what it was made for"
    )


def as_list(value: Any) -> list[Any]:
    """Return a configured list, or the one value as a list."""
    return list(value) if OmegaConf.is_list(value) else [value]
