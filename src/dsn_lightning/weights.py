"""Weights from one network into another whose input differs: pure functions of tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor


def across_modalities(kernel: Tensor, *, frames: int, channels: int) -> Tensor:
    """Return a first convolution for frames of another number of channels (cross-modality initialisation).

    As in *Temporal Segment Networks* (Wang et al., ECCV 2016, Sec. 3.2): the kernel's mean over the channels of a
    frame, for each of the new ones. Where frames are stacked as channels, each keeps its own kernel.

    Args:
        kernel: (D, frames * C, ...), the channels of a frame side by side.
        frames: frames that are stacked as channels; 1 for 3-D convolutions.
        channels: of a frame, from now on.

    >>> across_modalities(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 9.0]]), frames=2, channels=2)
    tensor([[2., 2., 6., 6.]])
    """
    mean = kernel.unflatten(1, (frames, -1)).mean(2, keepdim=True)  # (D, frames, 1, ...)
    return mean.repeat_interleave(channels, 2).flatten(1, 2)


def fit_first_convolution(
    state: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], *, source_channels: int, channels: int
) -> dict[str, Tensor]:
    """Return a network's weights with its first convolution made for frames of another number of channels.

    Args:
        state: the weights.
        wanted: shapes in the network that will take them; it may have others that ``state`` lacks, or the reverse.
        source_channels: of a frame, in ``state``.
        channels: of a frame, in ``wanted``.

    Raises:
        ValueError: not exactly one weight differs in its input channels by that ratio.
    """
    differing = [name for name, weight in state.items() if name in wanted and wanted[name] != weight.shape]
    stems = []
    for name in differing:
        own, other = state[name].shape, wanted[name]
        frames, rest = divmod(own[1], source_channels) if len(own) > 1 else (0, 1)
        if not rest and other == (own[0], frames * channels, *own[2:]):
            stems.append((name, frames))
    if len(stems) != 1 or len(differing) != 1:
        raise ValueError(f"{len(differing)} weights differ, and {len(stems)} of them as a first convolution's would")
    name, frames = stems[0]
    return {**state, name: across_modalities(state[name], frames=frames, channels=channels)}
