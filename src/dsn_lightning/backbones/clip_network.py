"""The contract of a clip network, and its check at build time."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import get_args

from torch import Tensor, nn

from dsn_lightning.errors import UsageError

Attributes = Mapping[str, tuple[type | UnionType, str]]
"""Name of an attribute -> its type and its meaning."""

_MISSING = object()


class ClipNetwork(nn.Module):
    """What the package needs to know of a network that maps clips to class scores or to features.

    A network need not inherit from this class. It is an `nn.Module` with the attributes below; class attributes are
    enough. Its constructor takes ``num_classes``, and ``in_channels`` where it is to see optical flow.

    Attributes:
        in_channels: C, channels of a frame, >= 1.
        num_features: D, features of a clip, >= 1: the width of the output with ``num_classes=0``.
        head: dotted name of the classification layer, such as ``fc``; with ``num_classes=0`` that layer is an
            `nn.Identity`.
        stacked_frames: frames that the first convolution takes as channels, side by side; 1 if it takes none so.
        frozen_blocks: leading blocks that keep their weights and batch statistics, >= 0. A network where this is
            above 0 has those blocks as the module ``frozen``, which maps normalised frames (F, C, H, W) to activations
            (F, C', H', W'), and its ``forward`` takes clips of such activations, too.
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
    """Return which attributes of a module are missing or mistyped, a phrase each.

    A ``head`` must also name a layer.
    """
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
    """Raise one error that lists all problems, if there are any.

    Args:
        module: what has them.
        problems: a phrase each.
        key: where the module was configured.
        contract: public name of the class that states the contract, below ``dsn_lightning``.
    """
    if problems:
        raise UsageError(
            f"{key}: {type(module).__name__} does not satisfy dsn_lightning.{contract}: {'; '.join(problems)}; "
            "class attributes are enough"
        )


def classification_layer(network: ClipNetwork) -> nn.Module:
    """Return the layer that gives the classes; an `nn.Identity` in a network without classes."""
    return network.get_submodule(network.head)


def frozen_part(network: ClipNetwork) -> nn.Module:
    """Return the blocks that keep their weights, of a network that has some."""
    assert network.frozen_blocks, "this network has no frozen blocks"
    frozen = network.frozen
    assert isinstance(frozen, nn.Module)
    return frozen
