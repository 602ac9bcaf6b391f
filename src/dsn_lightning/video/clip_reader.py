"""From a video and clip positions to uint8 clips: the plan (which frames) apart from the decoding (their pixels)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsn_lightning.video.crops import Crop, Cut
from dsn_lightning.video.decoder import Decoder, Frames
from dsn_lightning.video.resize import rescaled
from dsn_lightning.video.sections import IntArray, clip_frames
from dsn_lightning.video.time_line import Video


class FrameReader(Protocol):
    """Reads frames of a video's file."""

    def __call__(self, video: Video, indices: IntArray, size: tuple[int, int]) -> NDArray[Any]:
        """Return the file's frames ``indices`` (strictly increasing), uint8 (F, H, W, C), or their activations."""


class Window(Protocol):
    """Makes clips of the frames that a `FrameReader` read; see `Crop`."""

    def scaled_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width to which frames of a video are scaled."""

    @property
    def crop_size(self) -> int:
        """Side of the networks' input."""

    def __call__(self, frames: NDArray[Any], rng: np.random.Generator | None) -> Tensor:
        """Return a clip (C, T, H, W) of its frames."""


@dataclass(frozen=True)
class DecodedFrames:
    """Decodes frames each time they are requested."""

    decoder: Decoder

    def __call__(self, video: Video, indices: IntArray, size: tuple[int, int]) -> Frames:
        """Return the file's frames ``indices``, uint8 (F, H, W, 3)."""
        return self.decoder.read(video.file, indices, size, video.info)


@dataclass(frozen=True)
class FlowFrames:
    """Reads precomputed optical flow: u and v from frame i to frame i + 1, quantised to 8 bits (`FlowCopy`)."""

    decoder: Decoder

    def __call__(self, video: Video, indices: IntArray, size: tuple[int, int]) -> Frames:
        """Return the flow of frames ``indices``, uint8 (F, H, W, 2), in pixels of the stored size."""
        stored_size = (video.info.height, video.info.width)
        return rescaled(self.decoder.read(video.file, indices, stored_size, video.info)[..., :2], size)


class FrameCache:
    """Keeps the frames that another reader decoded, for small data sets that are read many times.

    A video is decoded whole the first time one of its frames is requested. The cache takes frames * H * W * C bytes of
    memory in each process that reads.
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


@dataclass(frozen=True)
class UncutClips:
    """Clips whose windows are drawn and not yet cut.

    Attributes:
        frames: uint8 (F, H, W, C), each frame of the video once.
        rows: positions in ``frames`` of each clip's frames, (K, T).
        cuts: each clip's window.
    """

    frames: Frames
    rows: IntArray
    cuts: tuple[Cut, ...]


@dataclass(frozen=True)
class ClipReader:
    """Reads clips at given positions.

    Attributes:
        read: decodes frames.
        crop: cuts the input window.
        frames_per_clip: T.
        frame_stride: distance between a clip's frames on the time line.
        channels: C, 3 for RGB and 2 for flow.
        activations: shape of a frame's activations, (C', H', W'), if clips consist of activations instead of pixels.
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
        positions = clip_frames(
            starts, num_frames=video.num_frames, frames_per_clip=self.frames_per_clip, frame_stride=self.frame_stride
        )
        return video.source[positions]

    def __call__(self, video: Video, starts: IntArray, rng: np.random.Generator | None = None) -> Tensor:
        """Return the clips at ``starts`` (...,), uint8 (..., C, T, H, W); each frame is decoded once for all clips.

        Activations are float16 (..., C', T, H', W'). ``rng`` draws each clip's crop; None takes the centre.
        """
        return self.read_kept(video, starts, np.ones(starts.shape, bool), rng).unflatten(0, starts.shape)

    def read_kept(
        self, video: Video, starts: IntArray, kept: NDArray[np.bool_], rng: np.random.Generator | None
    ) -> Tensor:
        """Return the clips at ``starts`` (...,) where ``kept`` (...,) is True, (K, C, T, H, W).

        They equal those of `__call__`: the crops of all clips are drawn, but nothing is decoded for the others.
        """
        frames, rows = self._frames(video, starts[kept])
        of_clip = _rows(frames, rows)
        one = frames[:1]  # in place of a clip whose crop is only drawn
        crops = [(self.crop(next(of_clip) if is_kept else one, rng), is_kept) for is_kept in kept.flat]
        return torch.stack([clip for clip, is_kept in crops if is_kept])

    def read_uncut(
        self, video: Video, starts: IntArray, kept: NDArray[np.bool_], rng: np.random.Generator
    ) -> UncutClips:
        """Return what `read_kept` makes its clips of, with the windows that it would draw."""
        assert isinstance(self.crop, Crop)  # activations have no windows
        frames, rows = self._frames(video, starts[kept])
        frames = self.crop.bordered(frames)
        cuts = [(self.crop.draw(frames.shape[1], frames.shape[2], rng), is_kept) for is_kept in kept.flat]
        return UncutClips(frames, rows, tuple(cut for cut, is_kept in cuts if is_kept))

    def _frames(self, video: Video, starts: IntArray) -> tuple[NDArray[Any], IntArray]:
        """Return each frame of the clips at ``starts`` (K,) once, and the positions of each clip's frames, (K, T)."""
        needed, position = np.unique(self.plan(video, starts), return_inverse=True)
        frames = self.read(video, needed, self.crop.scaled_size(video.info.height, video.info.width))
        return frames, position.reshape(-1, self.frames_per_clip)


def _rows(frames: NDArray[Any], clips: IntArray) -> Iterator[NDArray[Any]]:
    """Yield ``frames[indices]`` for each row of indices, without a copy if they follow each other."""
    in_a_row = (np.diff(clips, axis=1) == 1).all(1).tolist()
    for first, indices, together in zip(clips[:, 0].tolist(), clips, in_a_row, strict=True):
        yield frames[first : first + len(indices)] if together else frames[indices]
