"""Weights from files into networks, across inputs, data sets and modalities."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dsn_lightning.backbones.clip_network import ClipNetwork

State = dict[str, Tensor]

_CONTAINERS = ("state_dict", "model_state_dict", "model_state", "model")
_MOST_CONTAINERS = 8  # one in another
_HEADS = ("fc.", "classifier.", "head.", "heads.")
# names in torchvision's DenseNet files; the layer itself is norm1, not norm.1
_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
_ZIP_BEGIN, _ZIP_END, _ZIP_END_LENGTH = b"PK\3\4", b"PK\5\6", 22  # bytes; an archive of torch has no comment
_SMALL = 2**20  # bytes of a tensor that may repeat what it stores
_PLAIN = (
    *(dict, list, tuple, set, frozenset, str, bytes, bytearray, bool, int, float, complex, type(None)),
    *(torch.dtype, torch.device),
)
_OPTIONAL = "num_batches_tracked"  # which some files lack; only batch norms with a momentum of None use it


class WeightsError(ValueError):
    """Weights that cannot be read or do not fit; the message is one line."""


def read_weights(path: Path) -> dict[str, Any]:
    """Return the content of a file of weights (also ``*.safetensors``): tensors by name, or parts of a checkpoint.

    Only tensors and plain values are ever loaded (``weights_only=True``), and only from an archive whose checksums are
    right. (Safetensors and torch's files from before version 1.6 have none.)

    Raises:
        WeightsError: the file is missing or damaged, or contains anything else, such as code.
    """
    if not path.is_file():
        raise WeightsError("no such file")
    try:
        _check_archive(path)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        with warnings.catch_warnings(action="ignore"):  # torch warns of pickles' dangers and then refuses them
            content = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except ImportError as error:
        raise WeightsError("needs the package safetensors") from error
    except pickle.UnpicklingError as error:
        raise WeightsError("contains more than weights (perhaps code) or is damaged; not loaded") from error
    except Exception as error:  # the readers raise anything on damaged files
        raise WeightsError(f"cannot be read as weights ({type(error).__name__}); is the file complete?") from error
    if not isinstance(content, dict):
        raise WeightsError(f"expected weights by name, got a {type(content).__name__}")
    _leave_plain_content(content)
    return content


def _leave_plain_content(content: dict[Any, Any]) -> None:
    """Remove the attributes of all dicts and tensors in a file, which would take the place of methods, such as ``get``.

    (`torch.nn.Module.state_dict` sets one, ``_metadata``, that loading here does not use.)

    Raises:
        WeightsError: there is something besides plain tensors and values, such as a distributed tensor or its mesh,
            whose operations are Python code.
    """
    waiting: list[Any] = [content]
    seen: set[int] = set()  # a pickle may contain itself
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if type(value) not in (Tensor, nn.Parameter) and not isinstance(value, _PLAIN):
            raise WeightsError(f"expected plain tensors and values, got a {type(value).__name__}")
        if isinstance(value, Tensor):
            value._backward_hooks = None
            if _repeats_itself(value):
                raise WeightsError("has a tensor of more values than it stores; not loaded")
        if isinstance(value, dict | Tensor):
            getattr(value, "__dict__", {}).clear()  # those of OrderedDict, Counter and Tensor have attributes
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value


def _repeats_itself(value: Tensor) -> bool:
    """Return whether a tensor has more values than are stored, so that a copy takes more memory than the file."""
    if value.layout != torch.strided or value.is_meta:
        return False
    return value.numel() * value.element_size() > max(_SMALL, value.untyped_storage().nbytes())


def _check_archive(path: Path) -> None:
    """Refuse a file of torch, a zip archive, whose checksums are wrong; torch's reader does not compare them.

    Raises:
        WeightsError: a checksum is wrong, a record is there twice, or bytes follow the archive or precede it: other
            readers would take another part of the file for its weights.
    """
    with path.open("rb") as file:
        if file.read(4) != _ZIP_BEGIN:
            if zipfile.is_zipfile(path):
                raise WeightsError("has an archive behind its weights, as one with code might; not loaded")
            return
        file.seek(-_ZIP_END_LENGTH, 2)
        ends_well = file.read(4) == _ZIP_END
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if not ends_well or len(set(names)) < len(names) or archive.testzip() is not None:
            raise WeightsError("is damaged: its checksums are wrong; not loaded")


def tensors_of(content: Mapping[str, Any]) -> State:
    """Return the weights by name from the content of a file, unwrapped; it is a `WeightsError` if there are none."""
    for _ in range(_MOST_CONTAINERS):
        content = next((content[name] for name in _CONTAINERS if isinstance(content.get(name), dict)), content)
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise WeightsError("contains no weights")
    if all(name.startswith("module.") for name in state):  # saved from torch's DataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def load_into(
    network: ClipNetwork, state: Mapping[str, Tensor], *, source_channels: int = 3, keep_head: bool = True
) -> None:
    """Load weights into a clip network whose classification layer or first convolution may differ.

    The first convolution takes kernels for another number of channels, see `across_modalities`. A network that stacks
    frames as channels takes the kernels of a network for single images, see `over_frames`. A linear layer takes the
    kernel of a convolution of size 1.

    Args:
        network: takes the weights.
        state: weights under the network's names or, for a `TorchvisionNetwork`, under torchvision's.
        source_channels: channels of a frame in ``state``.
        keep_head: leave the network's classification layer unchanged; a network without one ignores it in any case.

    Raises:
        WeightsError: anything else does not fit; names the keys.
    """
    check_tensors(state)
    head = f"{network.head}."
    prefix = "model." if head.startswith("model.") and not any(name.startswith("model.") for name in state) else ""
    given = {prefix + _DENSENET.sub(r"\1\2", name): value for name, value in state.items()}
    before = network.state_dict()
    expected = {name: value.shape for name, value in before.items() if not (keep_head and name.startswith(head))}
    if keep_head:
        heads = (head, *(prefix + other for other in _HEADS))
        given = {name: value for name, value in given.items() if name in expected or not name.startswith(heads)}
    for name, value in given.items():
        if name in expected and expected[name] != value.shape:
            given[name] = _fitted(value, expected[name], network, source_channels)
    _check_fit(given, expected)
    _check_kinds(given, before)
    network.load_state_dict({**before, **given})


def load_exactly(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load all weights of a module; a `WeightsError` lists the names and shapes that do not fit.

    ``state`` may be anything that a file holds in their place.
    """
    check_tensors(state)
    before = module.state_dict()
    _check_fit(state, {name: value.shape for name, value in before.items()})
    _check_kinds(state, before)
    module.load_state_dict({**before, **state})


def check_tensors(state: object) -> None:
    """Raise `WeightsError` unless these are plain, dense tensors with values, by name."""
    if not isinstance(state, Mapping):
        raise WeightsError(f"expected weights by name, got a {type(state).__name__}")
    for name, value in state.items():
        if not isinstance(name, str):
            raise WeightsError(f"expected weights by name, got the key {name!r}")
        if not isinstance(value, Tensor):
            raise WeightsError(f"{name}: expected a tensor, got a {type(value).__name__}")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise WeightsError(f"{name}: expected a dense tensor, got a sparse or quantized one, or one without values")


def _check_fit(given: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Compare names and shapes, and list all differences in one error."""
    missing = [name for name in expected if name not in given and not name.endswith(_OPTIONAL)]
    unexpected = [name for name in given if name not in expected]
    misshaped = [name for name in given if name in expected and expected[name] != given[name].shape]
    kinds = {"missing keys": missing, "unexpected keys": unexpected, "wrong shapes": misshaped}
    problems = [f"{kind}: {_first_few(names)}" for kind, names in kinds.items() if names]
    if misshaped and not (missing or unexpected):
        first = misshaped[0]
        problems[-1] += f" (expected {tuple(expected[first])}, got {tuple(given[first].shape)})"
    if problems:
        raise WeightsError("does not fit this network: " + "; ".join(problems))


def _check_kinds(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse whole or complex numbers in place of floating-point ones, which torch would convert.

    Quantized weights mean nothing without their scales.
    """
    for name, value in given.items():
        if expected[name].is_floating_point() and not value.is_floating_point():
            kinds = [str(tensor.dtype).removeprefix("torch.") for tensor in (expected[name], value)]
            raise WeightsError(f"{name}: expected numbers of type {kinds[0]}, got {kinds[1]}")


def _fitted(kernel: Tensor, expected: torch.Size, network: ClipNetwork, source_channels: int) -> Tensor:
    """Adapt a first convolution's kernel to the network's frames and channels; return other tensors unchanged.

    A kernel of size 1 in place of a linear layer's weight loses the axes of its size.
    """
    if kernel.dim() > 2 == len(expected) and kernel.shape[2:].numel() == 1:
        return kernel.flatten(1)
    frames, channels = network.stacked_frames, network.in_channels
    same_otherwise = kernel.dim() >= 4 and (kernel.shape[0], *kernel.shape[2:]) == (expected[0], *expected[2:])
    if not same_otherwise or expected[1] != frames * channels:
        return kernel
    if frames > 1 and kernel.shape[1] == source_channels:
        kernel = over_frames(kernel, frames=frames)
    if channels != source_channels and kernel.shape[1] == frames * source_channels:
        kernel = across_modalities(kernel, frames=frames, channels=channels)
    return kernel


def over_frames(kernel: Tensor, *, frames: int) -> Tensor:
    """Return a kernel over stacked frames that gives for a still clip what ``kernel`` (D, C, ...) gives for its image.

    This is the counterpart over time of TSN's cross-modality initialisation (see `across_modalities`): the kernel of
    the image is repeated over the frames and divided by their number. So ImageNet's ResNet-18 fits ResNet2D-18, whose
    layers are the same. It was trained with max-pooling behind the first convolution, which the paper's network lacks,
    and here sees feature maps of twice the size.

    >>> over_frames(torch.tensor([[2.0, 4.0]]), frames=2)
    tensor([[1., 2., 1., 2.]])
    """
    return kernel.repeat(1, frames, *[1] * (kernel.dim() - 2)) / frames


def across_modalities(kernel: Tensor, *, frames: int, channels: int) -> Tensor:
    """Return a kernel for frames with another number of channels (cross-modality initialisation).

    As in *Temporal Segment Networks* (Wang et al., ECCV 2016, Sec. 3.2), each new channel gets the mean of ``kernel``
    (D, frames * C, ...) over the channels of a frame. Of stacked frames each keeps its own; 3-D convolutions have 1.

    >>> across_modalities(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 9.0]]), frames=2, channels=2)
    tensor([[2., 2., 6., 6.]])
    """
    mean = kernel.unflatten(1, (frames, -1)).mean(2, keepdim=True)  # (D, frames, 1, ...)
    return mean.repeat_interleave(channels, 2).flatten(1, 2)


def _first_few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
