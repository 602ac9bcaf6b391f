"""What the networks of a configuration cost: built without memory, counted on torch's meta device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from dsn_lightning.backbones.clip_network import frozen_part
from dsn_lightning.config.build import build_classifier, build_observation
from dsn_lightning.config.settings import BackboneSettings, ObservationSettings
from dsn_lightning.cost.macs import count_parameters, macs_per_clip
from dsn_lightning.errors import UsageError
from dsn_lightning.video.modality import CHANNELS

REFUSALS = (UsageError, RuntimeError, ValueError, AssertionError, TypeError)
"""What a network raises that is not made for the clips it is given."""

ClipShape = tuple[int, int, int, int]
"""(C, T, H, W)."""

_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True)
class NetworkCost:
    """What one network, named as its configuration, costs."""

    name: str
    parameters: int  # frozen ones included
    macs: float  # multiply-adds of a clip


def clip_shape(backbone: BackboneSettings, *, modality: str) -> ClipShape:
    """Return the shape of the clips that both networks are given."""
    return CHANNELS[modality], backbone.frames_per_clip, backbone.crop_size, backbone.crop_size


def input_shape(backbone: BackboneSettings, *, modality: str) -> ClipShape:
    """Return the shape of what both networks are given in training: clips, or the stored activations of frames."""
    clip = clip_shape(backbone, modality=modality)
    if not backbone.cache_activations:
        return clip
    channels, frames, *size = clip
    network = _without_memory(lambda: build_classifier(backbone, num_classes=1, modality=modality))
    frozen = frozen_part(network)
    channels, *size = frozen.eval()(torch.empty(1, channels, *size, device="meta")).shape[1:]
    return channels, frames, size[0], size[1]


def _without_memory(make: Callable[[], _Network]) -> _Network:
    """Build a network on the meta device, or with memory where it draws numbers there, as RegNets do."""
    try:
        with torch.device("meta"):
            return make()
    except REFUSALS as error:
        if "out of meta tensor" not in str(error):
            raise
    return make().to("meta")


def count_classifier(
    backbone: BackboneSettings, *, num_classes: int, modality: str, clip: ClipShape | None = None
) -> NetworkCost:
    """Count the classifier on its own clips, or on others; one that does not take them is refused."""
    shape = clip or clip_shape(backbone, modality=modality)
    try:
        network = _without_memory(lambda: build_classifier(backbone, num_classes=num_classes, modality=modality))
        return NetworkCost(backbone.name, count_parameters(network), macs_per_clip(network, shape))
    except REFUSALS as error:
        raise refusal(f"backbone={backbone.name}", backbone, error) from error


def count_observation(
    observation: ObservationSettings,
    backbone: BackboneSettings,
    *,
    num_sections: int = 1,
    clips_per_section: int,
    num_classes: int,
    modality: str,
    clip: ClipShape | None = None,
) -> NetworkCost:
    """Count the observation network for M sections of N clips, among which the cost of its head is divided."""
    shape = clip or clip_shape(backbone, modality=modality)
    try:
        network = _without_memory(lambda: build_observation(observation, num_classes=num_classes, modality=modality))
        macs = macs_per_clip(network, shape, num_sections=num_sections, clips_per_section=clips_per_section)
        return NetworkCost(observation.name, count_parameters(network), macs)
    except REFUSALS as error:
        raise refusal(f"observation={observation.name}", backbone, error) from error


def refusal(key: str, backbone: BackboneSettings, error: Exception) -> UsageError:
    """Return the message for a network, named by ``key``, that has refused the clips of ``backbone``."""
    if isinstance(error, UsageError):
        return UsageError(f"{key}: {error}")
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UsageError(
        f"{key}: does not take clips of {backbone.frames_per_clip} frames of {backbone.crop_size}x{backbone.crop_size} "
        f"pixels ({reason}); set backbone.frames_per_clip, backbone.crop_size and backbone.frame_size to what it was "
        "made for"
    )
