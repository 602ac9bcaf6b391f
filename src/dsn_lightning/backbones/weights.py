"""Weights from files, and from one network into another: across inputs, data sets and modalities."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Tensor]

_CONTAINERS = ("state_dict", "model_state_dict", "model_state", "model")
_HEADS = ("fc.", "classifier.", "head.", "heads.")
_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""A name in torchvision's files of DenseNets; the layer itself is norm1, not norm.1."""

_UNIMPORTANT = "num_batches_tracked"
"""Counters of batch norms, which some files lack; they matter to a momentum of None alone."""


class WeightsError(ValueError):
    """Weights that cannot be read, or do not fit; the message is one line."""


def read_weights(path: Path) -> dict[str, Any]:
    """Return what a file of weights holds: names and tensors, or a checkpoint's parts.

    Only tensors and plain values are ever loaded (``weights_only=True``); ``*.safetensors`` are read as such.

    Raises:
        WeightsError: it is missing, damaged, or holds anything else, such as code.
    """
    if not path.is_file():
        raise WeightsError("no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        with warnings.catch_warnings(action="ignore"):  # torch tells what pickles may do, and then refuses to do it
            content = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise WeightsError("needs the package safetensors") from error
    except pickle.UnpicklingError as error:
        raise WeightsError("holds more than weights (code, perhaps), or is damaged; it is not loaded") from error
    except Exception as error:  # damage makes the readers raise anything
        raise WeightsError(f"cannot be read as weights ({type(error).__name__}); is the file whole?") from error
    if not isinstance(content, dict):
        raise WeightsError(f"holds a {type(content).__name__}, not weights by name")
    return content


def tensors_of(content: Mapping[str, Any]) -> State:
    """Return a file's weights by name, out of what such files wrap them in.

    Raises:
        WeightsError: there are none.
    """
    for name in _CONTAINERS:
        if isinstance(content.get(name), dict):
            return tensors_of(content[name])
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise WeightsError("holds no weights")
    if all(name.startswith("module.") for name in state):  # of torch's DataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def load_into(
    network: nn.Module, state: Mapping[str, Tensor], *, source_channels: int = 3, keep_head: bool = True
) -> None:
    """Load weights into a network whose classification layer, and first convolution, may be others.

    The first convolution takes kernels of other channels, see `across_modalities`, and a network that stacks frames as
    channels those of single images, see `over_frames`.

    Args:
        network: says with ``head`` which layer gives the classes (default: ``fc``), with ``stacked_frames`` how many
            frames its first convolution takes as channels (1), and with ``in_channels`` how many a frame has.
        state: the weights, under the network's names or, of a `TorchvisionNetwork`, torchvision's.
        source_channels: of a frame, in ``state``.
        keep_head: leave the network's classification layer as it is; a network without one takes none in any case.

    Raises:
        WeightsError: anything else does not fit; names the keys.
    """
    own = network.state_dict()
    head = f"{getattr(network, 'head', 'fc')}."
    prefix = "model." if head.startswith("model.") and not any(name.startswith("model.") for name in state) else ""
    given = {prefix + _DENSENET.sub(r"\1\2", name): value for name, value in state.items()}
    wanted = {name: value.shape for name, value in own.items() if not (keep_head and name.startswith(head))}
    if keep_head:
        heads = (head, *(prefix + other for other in _HEADS))
        given = {name: value for name, value in given.items() if name in wanted or not name.startswith(heads)}
    frames, channels = getattr(network, "stacked_frames", 1), getattr(network, "in_channels", source_channels)
    for name, value in given.items():
        if name in wanted and wanted[name] != value.shape:
            given[name] = _fit_input(value, wanted[name], frames, channels, source_channels)
    missing = [name for name in wanted if name not in given and not name.endswith(_UNIMPORTANT)]
    extra = [name for name in given if name not in wanted]
    misshaped = [name for name in given if name in wanted and wanted[name] != given[name].shape]
    problems = [
        f"{what} {_some(names)}"
        for what, names in (("lacks", missing), ("has besides", extra), ("has in another shape", misshaped))
        if names
    ]
    if problems:
        if misshaped and not (missing or extra):
            first = misshaped[0]
            problems[-1] += f" ({tuple(given[first].shape)}, wanted is {tuple(wanted[first])})"
        raise WeightsError("does not fit this network: " + "; ".join(problems))
    network.load_state_dict({**own, **given})


def _fit_input(kernel: Tensor, wanted: torch.Size, frames: int, channels: int, source_channels: int) -> Tensor:
    """Return a first convolution's kernel for other frames and channels, or the tensor as it is."""
    if kernel.dim() < 4 or kernel.shape[0] != wanted[0] or kernel.shape[2:] != wanted[2:]:
        return kernel
    if wanted[1] != frames * channels:
        return kernel
    if frames > 1 and kernel.shape[1] == source_channels:
        kernel = over_frames(kernel, frames=frames)
    if channels != source_channels and kernel.shape[1] == frames * source_channels:
        kernel = across_modalities(kernel, frames=frames, channels=channels)
    return kernel


def over_frames(kernel: Tensor, *, frames: int) -> Tensor:
    """Return a first convolution over stacked frames that gives a still clip what ``kernel`` gives its image.

    Args:
        kernel: (D, C, ...), of a network of images.
        frames: frames that are stacked as channels, side by side.

    >>> over_frames(torch.tensor([[2.0, 4.0]]), frames=2)
    tensor([[1., 2., 1., 2.]])
    """
    return kernel.repeat(1, frames, *[1] * (kernel.dim() - 2)) / frames


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


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
