"""What a picture of an answer needs from its video: frames of the whole of it, and where its candidates lie in time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.prediction.answer import Clip
from dsn_lightning.video.decoder import Decoder, Frames
from dsn_lightning.video.time_line import Video

_MOST, _FEWEST = 24, 4
"""Bounds on the number of thumbnails in a strip."""

Span = tuple[float, float]
"""Half-open part of a video, in seconds from its first frame."""


@dataclass(frozen=True)
class VideoStrip:
    """A whole video at a glance.

    Attributes:
        duration: length of the video in seconds.
        thumbnails: frames at the middles of equal parts of the video, upright, uint8 (K, h, w, 3).
        shares: the part of the video that each candidate was taken from; they are disjoint.
        spans: the part that each candidate shows; these overlap in short videos.
    """

    duration: float
    thumbnails: Frames
    shares: tuple[Span, ...] = ()
    spans: tuple[Span, ...] = ()


def read_strip(
    video: Video, decoder: Decoder, clips: Sequence[Clip], *, clip_span: int, width: int, height: int
) -> VideoStrip:
    """Read the frames of a strip, and place the candidates on it.

    Args:
        video: on its time line.
        decoder: reads its file.
        clips: all candidates of the answer, section by section; none of an answer by windows.
        clip_span: frames of the time line from the first to the last of a clip, both included.
        width: of the strip in pixels; the thumbnails fill it.
        height: of the strip in pixels, about; no thumbnail is higher than one and a half times this.

    Raises:
        VideoError: the file cannot be read.
    """
    moments = _moments(video)
    info = video.info
    count = int(np.clip(round(width / height * info.height / info.width), _FEWEST, _MOST))
    scale = min(width // count / info.width, 1.5 * height / info.height)
    size = max(1, round(scale * info.height)), max(1, round(scale * info.width))
    duration = float(moments[-1])
    middles = (np.arange(count) + 0.5) / count * duration
    positions = (np.searchsorted(moments, middles, side="right") - 1).clip(0, video.num_frames - 1)
    frames, back = np.unique(video.source[positions], return_inverse=True)
    thumbnails = decoder.read(video.file, frames, size, info)[back]
    borders = np.interp(np.linspace(0, video.num_frames, len(clips) + 1), np.arange(len(moments)), moments)
    shares = zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True)
    return VideoStrip(duration, thumbnails, tuple(shares) if clips else (), clip_spans(video, clips, clip_span))


def clip_spans(video: Video, clips: Sequence[Clip], clip_span: int) -> tuple[Span, ...]:
    """Return the part of the video that each clip shows; see `read_strip` for ``clip_span``."""
    moments = _moments(video)
    ends = [min(clip.start_frame + clip_span, video.num_frames) for clip in clips]
    return tuple((float(moments[c.start_frame]), float(moments[end])) for c, end in zip(clips, ends, strict=True))


def _moments(video: Video) -> NDArray[np.float64]:
    """Return when each frame of the time line is displayed and when the last one ends, (L + 1,), in seconds."""
    times = video.info.times[video.source]
    return np.append(times, max(video.num_frames / video.fps, times[-1] + 1 / video.fps))
