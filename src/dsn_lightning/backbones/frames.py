"""What networks on single frames share: which frames they see, and their first convolution."""

from typing import Any

from torch import Tensor, nn

from dsn_lightning.errors import UsageError


def middle_frames(clips: Tensor, num_frames: int | None) -> Tensor:
    """Return the middle frames of clips (B, C, T, H, W): (B, C, num_frames, H, W); None keeps all.

    Raises:
        UsageError: clips have fewer.
    """
    if num_frames is None:
        return clips
    first = (clips.shape[2] - num_frames) // 2
    if first < 0:
        raise UsageError(
            f"clips of {clips.shape[2]} frames are too short for a network that looks at {num_frames}; raise "
            "backbone.frames_per_clip, or choose a backbone or observation network of fewer frames"
        )
    return clips[:, :, first : first + num_frames]


Convolution = nn.Conv2d | nn.Conv3d


def replace_first_convolution(network: nn.Module, in_channels: int) -> None:
    """Give a network's first convolution another number of input channels, with fresh weights."""
    name, conv = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Conv3d))
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, convolution_like(conv, in_channels, conv.out_channels))


def convolution_like(conv: Convolution, in_channels: int, out_channels: int) -> Convolution:
    """Return a convolution of the same geometry with other widths."""
    geometry: dict[str, Any] = {key: getattr(conv, key) for key in ("kernel_size", "stride", "padding", "dilation")}
    return type(conv)(in_channels, out_channels, **geometry, bias=conv.bias is not None)
