"""torchcodec as a decoder (an optional dependency, which needs the system's FFmpeg).

PyTorch is imported only when a video is read, so that commands which only look at videos start quickly.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.errors import UsageError
from dsn_lightning.video.decoder import Frames, Indices
from dsn_lightning.video.pyav_decoder import Deadline, PyAV
from dsn_lightning.video.resize import rescaled
from dsn_lightning.video.video_info import VideoInfo, check_unchanged, unpack

if TYPE_CHECKING:
    from torchcodec import FrameBatch
    from torchcodec.decoders import VideoDecoder

_BATCH_BYTES = 2**26  # of decoded frames in one call

_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")

_inexact: set[tuple[Path, str]] = set()
"""Files for which torchcodec returned frames with other time stamps than the index has."""


class TorchCodec(PyAV):
    """Reads frames with torchcodec; files are probed as by `PyAV`, so that one index serves both.

    torchcodec orders frames by time stamp, and (as of 0.17) returns other frames after a seek in open groups of
    pictures and in containers without an index. `PyAV` reads such files, and those with damage, without increasing time
    stamps, without key frames to seek to, or with mirrored frames. It also takes over when time stamps of torchcodec's
    frames are not those in the index.

    Attributes:
        deadline: seconds after which a call gives up, checked between groups of frames.
    """

    def read(self, path: Path, indices: Indices, size: tuple[int, int], info: VideoInfo | None = None) -> Frames:
        """Return the frames ``indices``, uint8 (F, H, W, 3), scaled to ``size``; see `Decoder.read`.

        Raises:
            VideoError: the file cannot be decoded, or ends before the last index.
            UsageError: torchcodec or its FFmpeg is not installed.
        """
        info = info or self.probe(path)
        check_unchanged(path, info)
        wanted = [int(i) for i in indices]
        if not wanted or not _is_exact(info) or (path, info.digest) in _inexact or not self._is_indexed(path, info):
            return super().read(path, indices, size, info)
        deadline = Deadline(self.deadline)
        parts = []
        for batch, times in self._batches(path, wanted, info):
            if batch is None or not np.allclose(batch.pts_seconds, times, rtol=0, atol=1e-4):
                _inexact.add((path, info.digest))
                return super().read(path, indices, size, info)
            deadline.check(path)
            parts.append(rescaled(np.asarray(batch.data.permute(0, 2, 3, 1)), size))
        return np.concatenate(parts)

    def _is_indexed(self, path: Path, info: VideoInfo) -> bool:
        """Whether the file has the container in the index; torchcodec would read a playlist, and follow it."""
        with self._open(path) as (container, _):
            return container.format.name == info.container

    def _batches(
        self, path: Path, wanted: list[int], info: VideoInfo
    ) -> "Iterator[tuple[FrameBatch | None, NDArray[np.float64]]]":
        """Yield decoded frames with the times that the index has for them; None when torchcodec fails."""
        times = np.asarray(unpack(info.stamps)[wanted] * (info.time_base[0] / info.time_base[1]), np.float64)
        count, open_video = _batch_frames(info), _video_decoder()
        try:
            decoder = open_video(str(path), stream_index=info.stream, num_ffmpeg_threads=1, seek_mode="exact")
            for first in range(0, len(wanted), count):
                yield decoder.get_frames_at(wanted[first : first + count]), times[first : first + count]
        except (RuntimeError, ValueError, IndexError) as error:
            if "libtorchcodec" in _first_line(error):  # it loads FFmpeg with the first video
                raise _not_loaded(error) from error
            yield None, times

    def frames(self, path: Path, size: tuple[int, int] | None = None) -> Iterator[Frames]:
        """Yield all frames in display order, uint8 (H, W, 3), at their size or scaled."""
        info = self.probe(path)
        count = _batch_frames(info)
        for first in range(0, info.num_frames, count):
            part = range(first, min(first + count, info.num_frames))
            yield from self.read(path, part, size or (info.height, info.width), info)


def _batch_frames(info: VideoInfo) -> int:
    return max(1, _BATCH_BYTES // (3 * info.height * info.width))


def _is_exact(info: VideoInfo) -> bool:
    """Whether torchcodec can return the frames in the index."""
    has_index = info.container in _CONTAINERS and bool(info.stamps) and bool(info.key_frames)
    return has_index and not (info.damage or info.open_groups or info.mirrored)


def _video_decoder() -> "type[VideoDecoder]":
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError) as error:
        raise _not_loaded(error) from error
    return VideoDecoder


def _not_loaded(error: BaseException) -> UsageError:
    return UsageError(
        "dataset/reading/decoder=torchcodec: torchcodec cannot be loaded; install dsn-lightning[torchcodec] "
        f"and the system's FFmpeg ({_first_line(error)})"
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
