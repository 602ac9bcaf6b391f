"""Frames that are in memory already, as a video."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.video.decoder import Frames
from dsn_lightning.video.display import FrameConverter
from dsn_lightning.video.sections import IntArray
from dsn_lightning.video.time_line import Video, place_on_time_line
from dsn_lightning.video.video_info import VideoInfo


@dataclass(frozen=True)
class FramesInMemory:
    """Reads frames of an array uint8 (T, H, W, 3); FFmpeg scales them, as it does those of a file."""

    frames: NDArray[np.uint8]

    def __call__(self, video: Video, indices: IntArray, size: tuple[int, int]) -> Frames:
        """Return the frames ``indices`` at a size, uint8 (F, height, width, 3)."""
        wanted = self.frames[indices]
        if wanted.shape[1:3] == tuple(size):
            return np.asarray(wanted)
        convert = FrameConverter(size)
        images = (av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24") for image in wanted)
        return np.stack([convert(image) for image in images])


def frames_as_video(frames: NDArray[np.uint8], fps: float, time_line_fps: float | None) -> tuple[Video, FramesInMemory]:
    """Return frames uint8 (T, H, W, 3) as a video on its time line, and what reads it.

    Args:
        frames: in display order.
        fps: their rate.
        time_line_fps: rate of the time line; None: theirs.

    Raises:
        UsageError: the array is of another type or shape, or empty.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise UsageError(f"frames: expected uint8 (T, H, W, 3), got {frames.dtype} {tuple(frames.shape)}")
    if not fps > 0:
        raise UsageError(f"fps={fps}: must be above 0")
    count, height, width = frames.shape[:3]
    info = VideoInfo(num_frames=count, fps=fps, width=width, height=height)
    video = place_on_time_line(VideoRecord("frames", Path("frames"), ()), info, time_line_fps)
    return video, FramesInMemory(frames)
