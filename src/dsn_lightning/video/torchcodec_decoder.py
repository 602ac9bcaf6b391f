"""torchcodec as a decoder (an optional dependency, which needs the system's FFmpeg).

PyTorch is imported only when a video is read, so that commands which only look at videos start quickly.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dsn_lightning.errors import UsageError
from dsn_lightning.video.decoder import Frames, Indices
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError, VideoInfo

if TYPE_CHECKING:
    from torch import Tensor
    from torchcodec.decoders import VideoDecoder

_BATCH_FRAMES = 64  # frames decoded in one call


class TorchCodec(PyAV):
    """Reads frames with torchcodec; files are probed as by `PyAV`, so that one index serves both.

    torchcodec orders frames by time stamp, and (as of 0.17) loses frames when it seeks in open groups of pictures.
    Files with such groups, with damage or without increasing time stamps are read with PyAV.

    Attributes:
        deadline: seconds after which a call gives up, checked between groups of frames.
    """

    def read(self, path: Path, indices: Indices, size: tuple[int, int], info: VideoInfo | None = None) -> Frames:
        """Return the frames ``indices``, uint8 (F, H, W, 3), scaled to ``size``; see `Decoder.read`.

        Raises:
            VideoError: the file cannot be decoded, or ends before the last index.
        """
        info = info or self.probe(path)
        if not info.stamps or info.damage or info.open_groups:
            return super().read(path, indices, size, info)
        wanted = [int(i) for i in indices]
        if not wanted:
            return np.empty((0, *size, 3), np.uint8)
        decoder = _open(path)
        if wanted[-1] >= min(len(decoder), info.num_frames):
            raise VideoError(path, f"ends before frame {wanted[-1]}; has the file changed since it was indexed?")
        until = time.monotonic() + self.deadline
        parts = []
        for first in range(0, len(wanted), _BATCH_FRAMES):
            if time.monotonic() > until:
                raise VideoError(path, f"took longer than {self.deadline:g} s to decode", transient=True)
            try:
                parts.append(_scaled(decoder.get_frames_at(wanted[first : first + _BATCH_FRAMES]).data, size))
            except RuntimeError as error:
                raise VideoError(path, f"cannot be decoded ({_first_line(error)})") from error
        return np.concatenate(parts)

    def frames(self, path: Path, size: tuple[int, int] | None = None) -> Iterator[Frames]:
        """Yield all frames in display order, uint8 (H, W, 3), at their size or scaled."""
        info = self.probe(path)
        for first in range(0, info.num_frames, _BATCH_FRAMES):
            part = range(first, min(first + _BATCH_FRAMES, info.num_frames))
            yield from self.read(path, part, size or (info.height, info.width), info)


def _open(path: Path) -> "VideoDecoder":
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError) as error:
        raise _not_loaded(error) from error
    if not path.is_file():
        raise VideoError(path, "is a folder" if path.is_dir() else "no such video file", transient=True)
    try:
        return VideoDecoder(str(path), dimension_order="NCHW", num_ffmpeg_threads=1, seek_mode="exact")
    except (RuntimeError, ValueError) as error:
        if "libtorchcodec" in _first_line(error):  # it loads FFmpeg with the first video
            raise _not_loaded(error) from error
        raise VideoError(path, f"cannot be decoded ({_first_line(error)})") from error


def _not_loaded(error: BaseException) -> UsageError:
    return UsageError(
        "dataset/reading/decoder=torchcodec: torchcodec cannot be loaded; install dsn-lightning[torchcodec] "
        f"and the system's FFmpeg ({_first_line(error)})"
    )


def _scaled(frames: "Tensor", size: tuple[int, int]) -> Frames:
    import torch
    import torch.nn.functional as F

    if tuple(frames.shape[2:]) != tuple(size):
        frames = F.interpolate(frames, size, mode="bilinear", antialias=True)
    return np.asarray(frames.permute(0, 2, 3, 1).to(torch.uint8))


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
