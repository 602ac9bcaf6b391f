"""The contract of a clip network, its check at build time, and what clip networks share."""

from collections import OrderedDict
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, get_args

from torch import Tensor, nn

from dsn_lightning.errors import UsageError

Attributes = Mapping[str, tuple[type | UnionType, str]]
"""Name of an attribute -> its type and its meaning."""

Convolution = nn.Conv2d | nn.Conv3d

_MISSING = object()


class ClipNetwork(nn.Module):
    """What the package needs to know of a network that maps clips to class scores or to features.

    A network need not inherit from this class. It is an `nn.Module` with the attributes below; class attributes are
    enough. Its constructor takes ``num_classes``, and ``in_channels`` where it is to see optical flow.

    Attributes:
        in_channels: C, channels of a frame, >= 1.
        num_features: D, features of a clip, >= 1: the width of the output with ``num_classes=0``.
        head: dotted name of the classification layer, such as ``fc``; an `nn.Identity` with ``num_classes=0``.
        stacked_frames: frames that the first convolution takes as channels, side by side; 1 if it takes none so.
        frozen_blocks: leading blocks that keep their weights and batch statistics, >= 0. Above 0, the module ``frozen``
            has those blocks and maps normalised frames (F, C, H, W) to activations (F, C', H', W'), and ``forward``
            takes clips of such activations, too.

    A network may also have ``num_frames``: it then looks at nothing but the middle ``num_frames`` frames of a clip, and
    gives the same answer for a clip of those alone. Others are not decoded for it in a prediction. One whose layers are
    not PyTorch's has ``macs``, the multiply-adds of a clip.
    """

    in_channels: int
    num_features: int
    head: str
    stacked_frames: int
    frozen_blocks: int

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, C, T, H, W) to logits (B, J), or to features (B, D) with ``num_classes=0``."""
        raise NotImplementedError


_ATTRIBUTES: Attributes = {
    "in_channels": (int, "channels of a frame"),
    "num_features": (int, "width of its output with num_classes=0"),
    "head": (str, "dotted name of its classification layer"),
    "stacked_frames": (int, "frames that its first convolution takes as channels, else 1"),
    "frozen_blocks": (int, "leading blocks that keep their weights, else 0"),
}


def check_clip_network(network: nn.Module, *, key: str) -> None:
    """Check that a network satisfies `ClipNetwork`; ``key``, in the message, says where it was configured.

    Raises:
        UsageError: lists everything that is missing or wrong.
    """
    raise_problems(network, clip_network_problems(network), key=key, contract="backbones.ClipNetwork")


def clip_network_problems(network: nn.Module) -> list[str]:
    """Return what keeps a network from satisfying `ClipNetwork`, a phrase each; empty if nothing does."""
    if not isinstance(network, nn.Module):
        return ["expected a torch.nn.Module"]
    problems = attribute_problems(network, _ATTRIBUTES)
    for name, least in (("in_channels", 1), ("num_features", 1), ("stacked_frames", 1), ("frozen_blocks", 0)):
        value = getattr(network, name, None)
        if isinstance(value, int) and value < least:
            problems.append(f"{name}={value}: must be at least {least}")
    blocks = getattr(network, "frozen_blocks", None)
    if isinstance(blocks, int) and blocks > 0 and not isinstance(getattr(network, "frozen", None), nn.Module):
        problems.append(f"frozen_blocks={blocks}: these blocks must be available as the module frozen")
    return problems


def attribute_problems(module: nn.Module, attributes: Attributes) -> list[str]:
    """Return which attributes of a module are missing or mistyped, a phrase each; ``head`` must also name a layer."""
    problems = []
    for name, (kind, meaning) in attributes.items():
        value = getattr(module, name, _MISSING)
        expected = " or ".join("None" if one is NoneType else one.__name__ for one in get_args(kind) or (kind,))
        if value is _MISSING:
            problems.append(f"missing {name} ({expected}: {meaning})")
        elif not isinstance(value, kind) or isinstance(value, bool):
            problems.append(f"{name}: expected {expected}, got {type(value).__name__}")
        elif name == "head" and value not in dict(module.named_modules()):
            problems.append(f"head={value}: no such layer")
    return problems


def raise_problems(module: nn.Module, problems: list[str], *, key: str, contract: str) -> None:
    """Raise one error that lists all problems of a module, if there are any; ``contract`` is a public name."""
    if problems:
        missed = f"{type(module).__name__} does not satisfy dsn_lightning.{contract}"
        raise UsageError(f"{key}: {missed}: {'; '.join(problems)}; class attributes are enough")


def classification_layer(network: ClipNetwork) -> nn.Module:
    """Return the layer that gives the classes; an `nn.Identity` in a network without classes."""
    return network.get_submodule(network.head)


def frozen_part(network: ClipNetwork) -> nn.Module:
    """Return the blocks that keep their weights, of a network that has some."""
    assert network.frozen_blocks, "this network has no frozen blocks"
    frozen = network.frozen
    assert isinstance(frozen, nn.Module)
    return frozen


def middle_frames(clips: Tensor, num_frames: int | None) -> Tensor:
    """Return the middle frames of clips (..., C, T, H, W), which must have as many; None keeps all."""
    if num_frames is None:
        return clips
    first = (clips.shape[-3] - num_frames) // 2
    if first < 0:
        raise UsageError(
            f"clips of {clips.shape[-3]} frames are too short for a network that looks at {num_frames}; use longer "
            "clips (frames_per_clip) or a network that looks at fewer frames"
        )
    return clips.narrow(-3, first, num_frames)


def replace_first_convolution(network: nn.Module, in_channels: int) -> None:
    """Give a network a first convolution with another number of input channels and fresh weights."""
    name, conv = next((n, m) for n, m in network.named_modules() if isinstance(m, Convolution))
    network.set_submodule(name, convolution_like(conv, in_channels, conv.out_channels))


def named_layers(**layers: nn.Module) -> nn.Sequential:
    """Return layers in sequence, with these names in the weights."""
    return nn.Sequential(OrderedDict(layers))


def draw_initial_weights(network: nn.Module) -> None:
    """Initialise convolutions as He et al. (2015) do, by their outputs, and linear layers with small weights."""
    for module in network.modules():
        if isinstance(module, Convolution):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        if isinstance(module, Convolution | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def convolution_like(conv: Convolution, in_channels: int, out_channels: int) -> Convolution:
    """Return a convolution of the same geometry with other widths."""
    geometry: dict[str, Any] = {key: getattr(conv, key) for key in ("kernel_size", "stride", "padding", "dilation")}
    return type(conv)(in_channels, out_channels, **geometry, bias=conv.bias is not None)
