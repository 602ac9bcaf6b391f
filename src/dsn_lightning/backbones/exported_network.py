"""A classifier in a file of its own, TorchScript, torch.export or ONNX, as a clip network that is not trained.

Loading TorchScript or torch.export can run what the file says, so a file is opened only by the digest of its content,
which whoever names the file has read from it.
"""

import hashlib
import importlib.util
import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dsn_lightning.backbones.clip_network import ClipNetwork
from dsn_lightning.errors import UsageError

_READERS = (".onnx", ".pt", ".pt2", ".ts")
_PACKAGES = ("onnx", "onnxruntime")


class _Loaded(NamedTuple):
    """A file that has been read."""

    run: Callable[[Tensor], Tensor]  # float32 or uint8 clips (B, C, T, H, W) -> (B, outputs)
    moves: bool  # whether it computes on the device of the clips; otherwise on the CPU
    content: bytes


class ExportedNetwork(ClipNetwork):
    """A frozen classifier in a file: TorchScript (``.pt``, ``.ts``), torch.export (``.pt2``) or ONNX (``.onnx``).

    Args:
        num_classes: J, outputs that are kept; which ones, `keep_outputs` says (the first J until then).
        file: its path.
        digest: SHA-256 of its content, in hexadecimal digits; another content is refused before it is loaded.
        clip: (C, T, H, W) that it takes.
        mean, std: of each channel on pixel values in [0, 1], by which clips are normalised.
        pixels: whether the file takes uint8 pixels, as those of dsn-export do, and not normalised clips.
        in_channels: C, must be 3.

    Attributes:
        num_outputs: of the file.
        macs: multiply-adds of a clip.

    Raises:
        UsageError: the file is missing, has another content, cannot be loaded or does not take such clips.
    """

    head = "kept"
    stacked_frames = 1
    frozen_blocks = 0
    outputs: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        num_classes: int,
        *,
        file: str,
        digest: str,
        clip: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        pixels: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if in_channels != 3 or not num_classes:
            needs = "takes RGB videos" if num_classes else "cannot be the trunk of an observation network"
            raise UsageError(f"file={file}: an exported classifier {needs}")
        self.in_channels, self.clip, self.pixels = in_channels, tuple(clip), pixels
        self._file = _Shared(file, digest)
        with torch.device("cpu"):
            self.register_buffer("digest", torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8))
            scale = [255 * torch.tensor(list(values)).view(-1, 1, 1, 1) for values in (mean, std)]
            self.register_buffer("mean", scale[0], persistent=False)
            self.register_buffer("std", scale[1], persistent=False)
            self.num_outputs, self.batched, self.macs = self._tried()
            self.register_buffer("outputs", torch.arange(num_classes).clamp(max=self.num_outputs - 1))
        self.num_features = self.num_outputs
        self.kept = nn.Identity()

    def keep_outputs(self, rows: Sequence[int]) -> None:
        """Choose the J outputs that are the classes, in their order; each below ``num_outputs``."""
        assert len(rows) == len(self.outputs)
        assert max(rows) < self.num_outputs
        self.outputs.copy_(torch.tensor(list(rows)))

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, C, T, H, W) to logits (B, J), without gradient."""
        if tuple(clips.shape[1:]) != self.clip:
            raise UsageError(f"expected clips of shape {self.clip}, got {tuple(clips.shape[1:])}")
        given = (clips * self.std + self.mean).round().clamp(0, 255).to(torch.uint8) if self.pixels else clips.float()
        parts = (given,) if self.batched else given.split(1)
        logits = torch.cat([self._file.run(part) for part in parts]).to(clips.device)
        return self.kept(logits[:, self.outputs])

    def _tried(self) -> tuple[int, bool, int]:
        """Return the number of outputs, whether the file takes several clips at once, and its multiply-adds."""
        clips = [
            torch.zeros(count, *self.clip, dtype=torch.uint8 if self.pixels else torch.float32) for count in (1, 2)
        ]
        try:
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                found = self._file.run(clips[0])
        except Exception as error:  # the runtimes raise anything
            raise UsageError(
                f"file={self._file.path}: does not take clips {self.clip}: {_first_line(error)}"
            ) from error
        if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != 1:
            raise UsageError(f"file={self._file.path}: expected one output (B, classes), got {_described(found)}")
        try:
            several = self._file.run(clips[1]).shape == (2, found.shape[1])
        except Exception:  # exported for one clip
            several = False
        return found.shape[1], several, self._file.count_macs(clips[0]) or counter.get_total_flops() // 2


class _Shared:
    """The content of a file; copies of a network share it."""

    def __init__(self, path: str, digest: str) -> None:
        self.path, self._digest = path, digest
        self._load()

    def __deepcopy__(self, _: Any) -> "_Shared":
        return self

    def _load(self) -> _Loaded:
        return _loaded(self.path, self._digest)

    @torch.no_grad()
    def run(self, clips: Tensor) -> Tensor:
        """Return what the file computes for clips, (B, outputs)."""
        loaded = self._load()
        with torch.autocast(clips.device.type, enabled=False):
            return loaded.run(clips if loaded.moves else clips.cpu())

    def count_macs(self, clips: Tensor) -> int | None:
        """Return the multiply-adds of an ONNX file for clips; None for others, which PyTorch counts."""
        if Path(self.path).suffix != ".onnx":
            return None
        from dsn_lightning.backbones.onnx_counting import count_onnx_macs

        return count_onnx_macs(self._load().content, clips.numpy())


@lru_cache(maxsize=4)
def _loaded(path: str, digest: str) -> _Loaded:
    file, where = Path(path), f"file={path}"
    if not file.is_file():
        raise UsageError(f"{where}: no such file")
    if file.suffix not in _READERS:
        raise UsageError(f"{where}: expected TorchScript (.pt, .ts), torch.export (.pt2) or ONNX (.onnx)")
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise UsageError(f"{where}: its content is not that with which the run was trained; not loaded")
    if file.suffix == ".onnx":
        missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise UsageError(f"{where}: needs {', '.join(missing)}: pip install 'dsn-lightning[onnx]'")
    try:
        return {".onnx": _onnx, ".pt2": _program}.get(file.suffix, _script)(content)
    except Exception as error:  # the readers raise anything on damaged files
        raise UsageError(f"{where}: cannot be loaded ({_first_line(error)})") from error


def _script(content: bytes) -> _Loaded:
    module = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
    return _Loaded(lambda clips: module.to(clips.device)(clips), True, b"")


def _program(content: bytes) -> _Loaded:
    module = torch.export.load(io.BytesIO(content)).module()
    return _Loaded(module, False, b"")


def _onnx(content: bytes) -> _Loaded:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return _Loaded(lambda clips: torch.from_numpy(session.run(None, {name: clips.numpy()})[0]), False, content)


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()


def _described(found: object) -> str:
    return str(tuple(found.shape)) if isinstance(found, Tensor) else f"a {type(found).__name__}"
