"""From a video and clip positions to uint8 clips: the plan (which frames) apart from the decode (their pixels)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.video.decoder import Decoder, Frames
from dsn_lightning.video.sections import IntArray, clip_frames
from dsn_lightning.video.video_info import VideoError, VideoInfo


@dataclass(frozen=True)
class Video:
    """A record with its time line: the frames that positions count.

    Attributes:
        record: id, file, labels.
        num_frames: L, frames on the time line.
        fps: frames a second on the time line.
        source: frame of the file shown at each place of the time line.
        file: what is read: the record's file, or a copy of it with the same frames.
        info: what indexing ``file`` has found.
        offset: seconds of the file before the time line begins.
    """

    record: VideoRecord
    num_frames: int
    fps: float
    source: IntArray
    file: Path
    info: VideoInfo
    offset: float = 0.0


class FrameReader(Protocol):
    """Reads frames of a video's file."""

    def __call__(self, video: Video, indices: IntArray, size: tuple[int, int]) -> NDArray[Any]:
        """Return the file's frames ``indices`` (strictly increasing), uint8 (F, H, W, C), or what stands for them."""


class Window(Protocol):
    """Makes clips of what a `FrameReader` has read; see `Crop`."""

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width that frames are scaled to."""

    @property
    def crop_size(self) -> int:
        """Side of the networks' input."""

    def __call__(self, frames: NDArray[Any], rng: np.random.Generator | None) -> Tensor:
        """Return a clip (C, T, H, W) of its frames."""


@dataclass(frozen=True)
class DecodedFrames:
    """Reads frames with a decoder each time they are asked for."""

    decoder: Decoder

    def __call__(self, video: Video, indices: IntArray, size: tuple[int, int]) -> Frames:
        """Return the file's frames ``indices``, uint8 (F, H, W, 3); see `decoding.Decoder`."""
        return self.decoder.read(video.file, indices, size, video.info)


@dataclass(frozen=True)
class FlowFrames:
    """Reads precomputed optical flow: u and v, quantised to 8 bits, of frame i to frame i + 1 (see `copies`)."""

    decoder: Decoder

    def __call__(self, video: Video, indices: IntArray, size: tuple[int, int]) -> Frames:
        """Return the flow of frames ``indices``, uint8 (F, H, W, 2), in pixels of the stored size."""
        own = (video.info.height, video.info.width)
        flow = self.decoder.read(video.file, indices, own, video.info)[..., :2]
        if own == tuple(size):
            return flow
        planes = torch.from_numpy(flow.transpose(0, 3, 1, 2).copy())  # scaled apart from each other
        scaled = F.interpolate(planes, tuple(size), mode="bilinear", antialias=True)
        return np.asarray(scaled.permute(0, 2, 3, 1))


class FrameCache:
    """Keeps what another reader decoded, for small data sets that are read many times.

    A video is decoded whole the first time one of its frames is asked for; memory is frames * H * W * C bytes in each
    process that reads.
    """

    def __init__(self, read: FrameReader) -> None:
        self._read = read
        self._frames: dict[tuple[Path, tuple[int, int]], Frames] = {}

    def __call__(self, video: Video, indices: IntArray, size: tuple[int, int]) -> Frames:
        """Return the file's frames ``indices``, uint8 (F, H, W, C)."""
        key = (video.file, size)
        if key not in self._frames:
            self._frames[key] = self._read(video, np.arange(video.info.num_frames), size)
        return self._frames[key][indices]


def place_on_time_line(
    record: VideoRecord, info: VideoInfo, fps: float | None, *, copy: tuple[Path, VideoInfo] | None = None
) -> Video:
    """Return the video, or its segment, at its native frame rate (``fps=None``) or resampled by time stamp.

    The resampled frame at time t is the one on display then.

    Args:
        record: the video.
        info: what indexing its file has found.
        fps: frames a second of the time line.
        copy: a file of the same frames to read instead, and what indexing that has found.

    Raises:
        VideoError: no frame lies in the segment.
    """
    file, own = copy or (record.path, info)
    if record.segment is None and fps is None:
        return Video(record, info.num_frames, info.fps, np.arange(info.num_frames), file, own)
    start, end = record.segment or (0.0, info.duration)
    times = info.times
    inside = np.flatnonzero((times >= start - 1e-6) & (times < end - 1e-6))
    if not len(inside):
        raise VideoError(record.path, f"{record.video_id}: no frame in its segment, {start:g} to {end:g} s")
    offset = float(times[inside[0]])
    if fps is None:
        return Video(record, len(inside), info.fps, inside, file, own, offset)
    length = max(1, round((min(end, info.duration) - offset) * fps))
    shown = np.searchsorted(times, offset + np.arange(length) / fps + 1e-6, side="right") - 1
    return Video(record, length, fps, shown.clip(inside[0], inside[-1]), file, own, offset)


@dataclass(frozen=True)
class ClipReader:
    """Reads clips at given positions.

    Attributes:
        read: decodes frames.
        crop: cuts the input window.
        frames_per_clip: T.
        frame_stride: distance of a clip's frames on the time line.
        channels: C, 3 for RGB and 2 for flow.
        activations: of a frame, (C', H', W'), where clips hold activations in place of pixels.
    """

    read: FrameReader
    crop: Window
    frames_per_clip: int
    frame_stride: int
    channels: int = 3
    activations: tuple[int, int, int] | None = None

    @property
    def clip_span(self) -> int:
        """Frames of the time line that a clip covers."""
        return self.frames_per_clip * self.frame_stride

    def plan(self, video: Video, starts: IntArray) -> IntArray:
        """Return the file's frames that make up the clips at ``starts`` (...,): (..., T)."""
        places = clip_frames(
            starts,
            num_frames=video.num_frames,
            frames_per_clip=self.frames_per_clip,
            frame_stride=self.frame_stride,
        )
        return video.source[places]

    def __call__(self, video: Video, starts: IntArray, rng: np.random.Generator | None = None) -> Tensor:
        """Return the clips at ``starts`` (...,), uint8 (..., C, T, H, W); each frame is decoded once for all of them.

        Activations are float16 (..., C', T, H', W').

        Args:
            video: what to read from.
            starts: first frames on the time line.
            rng: draws each clip's crop; None takes the centre.
        """
        plan = self.plan(video, starts)
        wanted, place = np.unique(plan, return_inverse=True)
        frames = self.read(video, wanted, self.crop.frame_size)
        place = place.reshape(-1, self.frames_per_clip)
        clips = torch.stack([self.crop(frames[clip], rng) for clip in place])
        return clips.unflatten(0, starts.shape)
