"""From a video and clip positions to uint8 clips: the plan (which frames) apart from the decode (their pixels)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from dsn_lightning.data.decoding import Decoder, Frames
from dsn_lightning.data.order import Draw
from dsn_lightning.data.records import VideoRecord
from dsn_lightning.data.sections import IntArray, clip_frames, section_clip_starts
from dsn_lightning.data.video_info import VideoError, VideoInfo
from dsn_lightning.errors import UsageError
from dsn_lightning.keyed import keyed_rng

_MOST_REPLACEMENTS = 20


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


class SectionClips(Dataset[dict[str, Any] | UsageError]):
    """Videos as section clips, addressed by `Draw`.

    Args:
        videos: what it holds.
        reader: reads their clips.
        num_classes: J.
        num_sections: M.
        clips_per_section: N.
        seed: of all draws; None gives centred clips and crops (testing).
        replace_bad: put another video in the place of one that cannot be read (training), or leave it out of the
            count (testing); otherwise the error ends the run.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        reader: ClipReader,
        *,
        num_classes: int,
        num_sections: int,
        clips_per_section: int,
        seed: int | None,
        replace_bad: bool = False,
    ) -> None:
        self.videos = videos
        self.reader = reader
        self.num_classes = num_classes
        self.num_sections = num_sections
        self.clips_per_section = clips_per_section
        self.seed = seed
        self.replace_bad = replace_bad

    def __len__(self) -> int:
        return len(self.videos)

    def starts(self, epoch: int, index: int) -> IntArray:
        """Return the clips' first frames, (M, N)."""
        video = self.videos[index]
        rng = None if self.seed is None else keyed_rng(self.seed, epoch, video.record.video_id, "jitter")
        return section_clip_starts(
            video.num_frames,
            num_sections=self.num_sections,
            clips_per_section=self.clips_per_section,
            clip_span=self.reader.clip_span,
            rng=rng,
        )

    def __getitem__(self, draw: Draw) -> dict[str, Any] | UsageError:
        """Return an item, or the error that should end the run."""
        bad: list[tuple[str, str]] = []
        for attempt in range(_MOST_REPLACEMENTS):
            try:
                return {**self._read(draw), "bad_videos": bad}
            except VideoError as error:
                if not self.replace_bad:
                    return error
                record = self.videos[draw.video].record
                bad.append((record.video_id, str(error)))
            if self.seed is None:
                return {**self._blank(draw), "bad_videos": bad}
            rng = keyed_rng(self.seed, draw.epoch, record.video_id, "replacement", attempt)
            draw = draw._replace(video=int(rng.integers(len(self.videos))))
        return UsageError(f"{_MOST_REPLACEMENTS} videos one after the other cannot be read; the last one: {bad[-1][1]}")

    def _blank(self, draw: Draw) -> dict[str, Any]:
        record = self.videos[draw.video].record
        side = self.reader.crop.crop_size
        channels, *size = self.reader.activations or (self.reader.channels, side, side)
        shape = (self.num_sections, self.clips_per_section, channels, self.reader.frames_per_clip, *size)
        return {
            "clips": torch.zeros(shape, dtype=torch.float16 if self.reader.activations else torch.uint8),
            "targets": label_vector(record.labels, self.num_classes),
            "video_id": record.video_id,
            "start_frame": torch.zeros(shape[:2], dtype=torch.int64),
            "counted": False,
        }

    def _read(self, draw: Draw) -> dict[str, Any]:
        epoch, index, counted = draw
        video = self.videos[index]
        starts = self.starts(epoch, index)
        rng = None if self.seed is None else keyed_rng(self.seed, epoch, video.record.video_id, "crop")
        return {
            "clips": self.reader(video, starts, rng),  # (M, N, C, T, H, W)
            "targets": label_vector(video.record.labels, self.num_classes),
            "video_id": video.record.video_id,
            "start_frame": torch.from_numpy(starts),
            "counted": counted,
        }


def label_vector(labels: Sequence[int], num_classes: int) -> Tensor:
    """Return the training target, float (J,): one-hot, or for several labels multi-hot and normalised to sum 1.

    It is zero for a background video, which has no label and is only tested on.

    >>> label_vector([0, 2], 3)
    tensor([0.5000, 0.0000, 0.5000])
    """
    target = torch.zeros(num_classes)
    if labels:
        target[list(labels)] = 1 / len(labels)
    return target


def collate(drawn: Sequence[dict[str, Any] | UsageError]) -> dict[str, Any] | UsageError:
    """Return a batch of `SectionClips` items, those that count first, or the first error among them.

    ``num_videos`` is how many of them count; ``bad_videos`` names those that could not be read, and why.
    """
    items = [item for item in drawn if not isinstance(item, UsageError)]
    if len(items) < len(drawn):
        return next(item for item in drawn if isinstance(item, UsageError))
    items.sort(key=lambda item: not item["counted"])
    tensors = [{k: v for k, v in item.items() if k not in ("counted", "bad_videos")} for item in items]
    batch: dict[str, Any] = default_collate(tensors)
    bad = [entry for item in items for entry in item["bad_videos"]]
    return batch | {"num_videos": sum(item["counted"] for item in items), "bad_videos": bad}
