"""The networks of a trained DSN as files for other programs: ONNX or torch.export, checked before they are kept."""

import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.errors import UsageError
from dsn_lightning.files import write_json
from dsn_lightning.observations.observation_network import frames_looked_at, may_skip

Format = Literal["onnx", "torch_export"]

RECORD = "export.json"
TOLERANCE = 1e-4
"""Largest difference to the networks in PyTorch that is accepted, relative to the largest logit if that is above 1."""

_SUFFIXES: Mapping[Format, str] = {"onnx": ".onnx", "torch_export": ".pt2"}
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class PixelNetwork(nn.Module):
    """A network with its normalisation: uint8 clips (..., C, T, H, W) in, logits out.

    Args:
        network: takes normalised clips.
        mean, std: of each channel, for pixel values in [0, 255], (C, 1, 1, 1).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, clips: Tensor) -> Tensor:
        """Return the network's output for uint8 clips."""
        logits: Tensor = self.network((clips - self.mean) / self.std)
        return logits.float()


@dataclass(frozen=True)
class _Part:
    """One of the two networks.

    Attributes:
        name: of its file.
        module: what is exported.
        eager: what the model itself computes.
        free: names of the leading axes, whose lengths are free.
        shape: lengths of the others.
        result: names of the output's axes.
    """

    name: str
    module: nn.Module
    eager: Callable[[Tensor], Tensor]
    free: tuple[str, ...]
    shape: tuple[int, ...]
    result: tuple[str | int, ...]

    def random_clips(self, *counts: int) -> Tensor:
        """Return random clips, uint8, with these lengths of the free axes; the same in each call."""
        generator = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, (*counts, *self.shape), dtype=torch.uint8, generator=generator)

    def record(self, file: str) -> dict[str, Any]:
        """Return its file, input and output as plain values."""
        return {
            "file": file,
            "input": {"name": "clips", "type": "uint8", "shape": [*self.free, *self.shape]},
            "output": {"name": "logits", "type": "float32", "shape": list(self.result)},
        }


def export_model(
    model: DSN,
    folder: Path,
    form: Format,
    *,
    clip: tuple[int, int, int, int],
    clips_per_section: int,
    record: Mapping[str, Any],
) -> dict[str, float]:
    """Write both networks and ``export.json`` into a new folder, and return each one's largest difference.

    The files are read again and compared with the model, on random clips and batches of 1 and 3. The folder appears
    when that is done.

    Args:
        model: on the CPU, in eval mode.
        folder: must be missing or empty.
        form: of the files.
        clip: (C, T, H, W) that the classifier takes.
        clips_per_section: N.
        record: the fields of ``export.json`` beside ``networks``.

    Raises:
        UsageError: the folder is not empty, a package is missing, or a network cannot be exported.
    """
    _check_packages(form)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"output={folder}: is not an empty folder; use a new one")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export", dir=folder.parent) as partial:
            inside = Path(partial, "export")
            inside.mkdir()
            parts = _parts(model, clip, clips_per_section)
            files = {part.name: inside / f"{part.name}{_SUFFIXES[form]}" for part in parts}
            differences = {part.name: _export(part, files[part.name], form) for part in parts}
            networks = {part.name: part.record(files[part.name].name) for part in parts}
            write_json(inside / RECORD, {**record, "networks": networks})
            inside.replace(folder)
    except OSError as error:
        raise UsageError(f"output={folder}: {error.strerror}") from error
    return differences


def _check_packages(form: Format) -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None] if form == "onnx" else []
    if missing:
        raise UsageError(f"format={form}: needs {', '.join(missing)}: pip install 'dsn-lightning[onnx]'")


def _parts(model: DSN, clip: tuple[int, int, int, int], clips_per_section: int) -> tuple[_Part, _Part]:
    channels, frames, *size = clip
    arms = clips_per_section + may_skip(model.observation)
    observed = (clips_per_section, channels, frames_looked_at(model.observation, frames), *size)
    classes = model.classify(torch.zeros(1, *clip, dtype=torch.uint8)).shape[-1]
    mean, std = model.mean, model.std
    return (
        _Part(
            "observation",
            PixelNetwork(model.observation, mean, std),
            model.policy_logits,
            ("videos", "sections"),
            observed,
            ("videos", "sections", arms),
        ),
        _Part(
            "classifier",
            PixelNetwork(model.classifier, mean, std),
            model.classify,
            ("clips",),
            clip,
            ("clips", classes),
        ),
    )


@torch.no_grad()
def _export(part: _Part, file: Path, form: Format) -> float:
    """Write a network, and return the largest difference between the file's logits and the model's."""
    axes = {axis: Dim(name, min=1) for axis, name in enumerate(part.free)}
    example = part.random_clips(*[2] * len(part.free))
    try:
        program = torch.export.export(part.module.eval(), (example,), dynamic_shapes={"clips": axes}, strict=False)
        run = _write_onnx(program, file) if form == "onnx" else _write_torch(program, file)
        batches = [part.random_clips(*counts[: len(part.free)]) for counts in ((1, 3), (3, 1))]
        difference = max(_difference(part.eager(clips), run(clips)) for clips in batches)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"format={form}: the {part.name} network cannot be exported ({reason})") from error
    if difference > TOLERANCE:
        raise UsageError(
            f"format={form}: the {part.name} network computes something else as a file: expected a difference of at "
            f"most {TOLERANCE:g}, got {difference:.2g}"
        )
    return difference


def _difference(expected: Tensor, found: Tensor) -> float:
    """Return the largest difference of two arrays of logits, relative to the largest logit if that is above 1.

    It is infinite where one has values that are not finite.
    """
    assert found.shape == expected.shape
    difference = (found - expected).abs().max() / expected.abs().max().clamp(min=1)
    return float(difference.nan_to_num(nan=torch.inf))


def _write_torch(program: ExportedProgram, file: Path) -> Callable[[Tensor], Tensor]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found", UserWarning)  # of weights laid out channels last
        torch.export.save(program, file)
    return torch.export.load(file).module()


def _write_onnx(program: ExportedProgram, file: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    torch.onnx.export(
        program, f=file, input_names=["clips"], output_names=["logits"], external_data=False, verbose=False
    )
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda clips: torch.from_numpy(session.run(["logits"], {"clips": clips.numpy()})[0])
