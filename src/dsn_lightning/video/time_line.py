"""Videos on their time lines: which frame of the file is displayed at each position that clips count in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.video.sections import IntArray
from dsn_lightning.video.video_info import VideoError, VideoInfo

_TOLERANCE = 1e-6  # seconds; time stamps are rounded
_MOST_FRAMES = 20_000_000  # on a resampled time line: nine days at 25 frames per second; takes 160 MB


@dataclass(frozen=True)
class Video:
    """A record with its time line: the frames that clip positions count.

    Attributes:
        record: id, file, labels.
        num_frames: L, frames on the time line.
        fps: frames per second on the time line.
        source: the file's frame displayed at each position of the time line, (L,).
        file: the file to read: the record's, or a copy of it with the same frames.
        info: what indexing ``file`` found.
        offset: seconds of the file before the time line begins.
    """

    record: VideoRecord
    num_frames: int
    fps: float
    source: IntArray
    file: Path
    info: VideoInfo
    offset: float = 0.0

    def spans(self) -> list[tuple[float, float]]:
        """Return the record's spans on the time line, in seconds; what lies before or beyond it is cut off."""
        end = self.num_frames / self.fps
        spans = [(max(0.0, a - self.offset), min(end, b - self.offset)) for a, b in self.record.spans or ()]
        return [(first, last) for first, last in spans if first < last]


def place_on_time_line(
    record: VideoRecord, info: VideoInfo, fps: float | None, *, copy: tuple[Path, VideoInfo] | None = None
) -> Video:
    """Return a video, or its segment, at its native frame rate (``fps=None``) or resampled by time stamp.

    The resampled frame at time t is the one displayed at that time.

    Args:
        record: the video.
        info: what indexing its file found.
        fps: frames per second of the time line.
        copy: a file with the same frames to read instead, and what indexing it found.

    Raises:
        VideoError: the segment contains no frame, or time stamps jump so far that the time line would be endless.
    """
    file, file_info = copy or (record.path, info)
    if record.segment is None and fps is None:
        return Video(record, info.num_frames, info.fps, np.arange(info.num_frames), file, file_info)
    start, end = record.segment or (0.0, info.duration)
    times = info.times
    inside = np.flatnonzero((times >= start - _TOLERANCE) & (times < end - _TOLERANCE))
    if not len(inside):
        raise VideoError(record.path, f"{record.video_id}: no frames in its segment, {start:g} to {end:g} s")
    offset = float(times[inside[0]])
    if fps is None:
        return Video(record, len(inside), info.fps, inside, file, file_info, offset)
    length = max(1, round((min(end, info.duration) - offset) * fps))
    if length > _MOST_FRAMES:
        steps = np.diff(times[inside])
        raise VideoError(
            record.path,
            f"its {len(inside)} frames span {times[inside[-1]] - offset:.3g} s, too long for dataset.fps={fps:g}; the "
            f"largest step between time stamps is {steps.max():.3g} s, after frame {int(inside[steps.argmax()])}",
        )
    shown = np.searchsorted(times, offset + np.arange(length) / fps + _TOLERANCE, side="right") - 1
    return Video(record, length, fps, shown.clip(inside[0], inside[-1]), file, file_info, offset)
