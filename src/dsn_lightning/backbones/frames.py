"""The frames that a network looks at, and replacing its first convolution."""

from typing import Any

from torch import Tensor, nn

from dsn_lightning.errors import UsageError

Convolution = nn.Conv2d | nn.Conv3d


def middle_frames(clips: Tensor, num_frames: int | None) -> Tensor:
    """Return the middle frames of clips (B, C, T, H, W): (B, C, num_frames, H, W); None keeps all.

    Raises:
        UsageError: the clips have fewer frames.
    """
    if num_frames is None:
        return clips
    first = (clips.shape[2] - num_frames) // 2
    if first < 0:
        raise UsageError(
            f"clips of {clips.shape[2]} frames are too short for a network that looks at {num_frames}; use longer "
            "clips (frames_per_clip) or a network that looks at fewer frames"
        )
    return clips[:, :, first : first + num_frames]


def replace_first_convolution(network: nn.Module, in_channels: int) -> None:
    """Give a network a first convolution with another number of input channels and fresh weights."""
    name, conv = next((n, m) for n, m in network.named_modules() if isinstance(m, Convolution))
    network.set_submodule(name, convolution_like(conv, in_channels, conv.out_channels))


def convolution_like(conv: Convolution, in_channels: int, out_channels: int) -> Convolution:
    """Return a convolution of the same geometry with other widths."""
    geometry: dict[str, Any] = {key: getattr(conv, key) for key in ("kernel_size", "stride", "padding", "dilation")}
    return type(conv)(in_channels, out_channels, **geometry, bias=conv.bias is not None)
