"""The default decoder: FFmpeg through PyAV.

It returns any set of a file's frames, each decoded and converted once. Frame i is the i-th one that FFmpeg's decoder
returns, in display order; neither time stamps nor headers are trusted to count frames.

Files are opened and closed inside each call: loader workers share nothing, whatever their start method.
"""

import hashlib
import logging
import math
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import av
import av.logging
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from dsn_lightning.errors import UsageError
from dsn_lightning.video.decoder import Frames, Indices
from dsn_lightning.video.video_info import VideoError, VideoInfo, pack, unpack

Opened = tuple[InputContainer, VideoStream]

_SEEK_COST = 24
"""Number of frames that can be decoded in the time of a seek (measured by experiments/decoding_speed.py)."""


@dataclass(frozen=True)
class PyAV:
    """FFmpeg through PyAV, whose packages include FFmpeg.

    Attributes:
        deadline: seconds after which a call gives up, checked between packets; `probe`, which decodes the whole file,
            has ten times as long.
    """

    deadline: float = math.inf

    def __post_init__(self) -> None:
        seconds = self.deadline
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
            raise UsageError(f"dataset.reading.decoder.deadline={seconds}: must be seconds; .inf for no deadline")

    def find(self, path: Path) -> Path:
        """Return the path itself."""
        return path

    def fingerprint(self, path: Path) -> list[Any]:
        """Return the file's size and modification time."""
        status = path.stat()
        return ["video", status.st_size, status.st_mtime_ns]

    def probe(self, path: Path) -> VideoInfo:
        """Decode ``path`` to its end and report what came out.

        Raises:
            VideoError: the file is missing, truncated, more damaged than FFmpeg can conceal, or has no video frames.
        """
        stamps: list[int | None] = []
        key_frames: list[int] = []
        digest = hashlib.blake2b(digest_size=16)
        with _collected_errors() as reports, self._open(path) as (container, stream):
            num_reports = num_at_end = 0
            key, open_groups = -math.inf, False
            for packet, frames in self._packets(path, (container, stream), time.monotonic() + 10 * self.deadline):
                if packet.size:  # the last packet is empty and flushes the decoder
                    num_reports, num_at_end = len(reports), len(reports) - num_reports
                    shown = math.inf if packet.pts is None else packet.pts
                    key = shown if packet.is_keyframe else key
                    open_groups = open_groups or shown < key
                digest.update(packet)
                for frame in frames:
                    if not stamps:
                        width, height = _upright(frame)
                    if frame.key_frame and frame.pict_type == PictureType.I:
                        key_frames.append(len(stamps))
                    stamps.append(frame.pts)
            base = stream.time_base or Fraction(1, 25)
            fps = float(stream.average_rate or stream.guessed_rate or 25)
            header, codec = stream.frames or None, stream.codec_context.name
            demuxer = container.format.name
        for _, component, message in reports:  # in the container: frames are missing or misplaced
            if component in ("", demuxer):
                raise VideoError(path, f"is truncated or damaged ({demuxer}: {message.strip()})")
        if num_at_end:
            raise VideoError(path, f"is truncated, or damaged at its end ({_messages(reports[-1:])[0]})")
        if not stamps:
            raise VideoError(path, "no video frames")
        known = [s for s in stamps if s is not None]
        increasing = len(known) == len(stamps) and bool((np.diff(np.asarray(known, np.int64)) > 0).all())
        if increasing and len(known) > 1:
            fps = (len(known) - 1) / float((known[-1] - known[0]) * base)
        return VideoInfo(
            num_frames=len(stamps),
            fps=fps,
            width=width,
            height=height,
            header_frames=header,
            codec=codec,
            digest=digest.hexdigest(),
            damage=_messages(reports)[:3],
            stamps=pack(known) if increasing else "",
            time_base=(base.numerator, base.denominator),
            key_frames=pack(key_frames) if increasing else "",
            open_groups=open_groups,
        )

    def read(self, path: Path, indices: Indices, size: tuple[int, int], info: VideoInfo | None = None) -> Frames:
        """Return the frames ``indices``, uint8 (F, H, W, 3), scaled to ``size``; see `Decoder.read`.

        Frames in between are decoded but not converted, unless a key frame allows skipping many of them. Decoding stops
        after the last index.

        Raises:
            VideoError: the file is damaged, or ends before the last index.
        """
        wanted = [int(i) for i in indices]
        out = np.empty((len(wanted), *size, 3), dtype=np.uint8)
        convert = _Converter(size)
        position = {index: i for i, index in enumerate(wanted)}
        until = time.monotonic() + self.deadline
        with self._open(path) as opened:
            for start, last in _runs(wanted, info):
                try:
                    for index, frame in self._frames_from(path, opened, start, info, until):
                        if index in position:
                            out[position.pop(index)] = convert(frame)
                        if index == last:
                            break
                except _SeekError:
                    return PyAV.read(self, path, wanted, size)
        if position:
            raise VideoError(path, f"ends before frame {min(position)}; has the file changed since it was indexed?")
        return out

    def frames(self, path: Path, size: tuple[int, int] | None = None) -> Iterator[Frames]:
        """Yield all frames in display order, upright, uint8 (H, W, 3), at their size or scaled."""
        convert = None if size is None else _Converter(size)
        with self._open(path) as opened:
            for _, frame in self._frames_from(path, opened, 0, None, time.monotonic() + self.deadline):
                convert = convert or _Converter(_upright(frame)[::-1])
                yield convert(frame)

    def _frames_from(
        self, path: Path, opened: Opened, start: int, info: VideoInfo | None, until: float
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yield each frame with its index, beginning at the key frame ``start``."""
        container, stream = opened
        frames = (frame for _, frames in self._packets(path, opened, until) for frame in frames)
        if start == 0 or info is None:
            yield from enumerate(frames)
            return
        stamps = unpack(info.stamps)
        container.seek(int(stamps[start]), stream=stream)
        index = start
        for frame in frames:
            if index == start and frame.pts is not None and frame.pts < stamps[start]:
                continue  # displayed before the key frame, and decoded from frames before it
            if index >= len(stamps) or frame.pts != stamps[index]:
                raise _SeekError
            yield index, frame
            index += 1

    @contextmanager
    def _open(self, path: Path) -> Iterator[Opened]:
        if not path.is_file():
            raise VideoError(path, "is a folder" if path.is_dir() else "no such video file", transient=True)
        try:
            timeout = None if math.isinf(self.deadline) else self.deadline
            with av.open(str(path), timeout=timeout, metadata_errors="replace") as container:
                if not container.streams.video:
                    raise VideoError(path, "no video stream")
                stream = container.streams.video[0]
                if stream.codec_context is None:
                    raise VideoError(path, "no decoder for its video stream")
                stream.codec_context.thread_count = 1  # loader workers are the parallelism
                yield container, stream
        except av.error.ExitError as error:  # a read timed out
            raise VideoError(path, f"took longer than {self.deadline:g} s to read", transient=True) from error
        except av.FFmpegError as error:
            from_system = isinstance(error, OSError | MemoryError)  # not caused by the content
            raise VideoError(path, f"cannot be decoded ({error.strerror})", transient=from_system) from error

    def _packets(self, path: Path, opened: Opened, until: float) -> Iterator[tuple[Packet, list[VideoFrame]]]:
        """Yield each packet with the frames that it completes, until the deadline."""
        container, stream = opened
        start = time.monotonic()
        for packet in container.demux(stream):
            if time.monotonic() > until:
                raise VideoError(path, f"took longer than {max(0, until - start):.0f} s to decode", transient=True)
            if packet.is_corrupt:
                raise VideoError(path, "is truncated")
            frames = stream.decode(packet)
            if any(frame.is_corrupt for frame in frames):
                av.logging.log(av.logging.ERROR, stream.codec_context.name, "corrupt frame")
            yield packet, frames


class _SeekError(Exception):
    """A seek did not lead to the frame in the index."""


def _runs(wanted: Sequence[int], info: VideoInfo | None) -> list[tuple[int, int]]:
    """Divide the frames to read into runs: (key frame to start at, last frame to read).

    >>> info = VideoInfo(500, 25, 8, 8, stamps=pack(range(500)), key_frames=pack([0, 100, 200, 300, 400]))
    >>> _runs([3, 90, 120, 310, 320], info)
    [(0, 120), (300, 320)]
    """
    keys = []
    if info is not None and info.stamps and info.key_frames and not info.damage:  # concealment needs earlier frames
        keys = unpack(info.key_frames).tolist()
    runs: list[tuple[int, int]] = []
    position = 0
    for index in wanted:
        before = bisect_right(keys, index)
        key = keys[before - 1] if before else 0
        if key - position > _SEEK_COST:
            runs.append((key, index))
        elif runs:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((0, index))
        position = index + 1
    return runs


class _Converter:
    """Converts decoded frames to upright RGB of one size."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.height, self.width = size
        self.reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Frames:
        """Return the frame, uint8 (height, width, 3)."""
        turns = round(frame.rotation / 90) % 4  # counter-clockwise
        width, height = (self.height, self.width) if turns % 2 else (self.width, self.height)
        scaled = self.reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation="BILINEAR", threads=1
        )
        return np.rot90(scaled.to_ndarray(), turns)


def _upright(frame: VideoFrame) -> tuple[int, int]:
    """Return a frame's displayed (width, height)."""
    return (frame.height, frame.width) if round(frame.rotation / 90) % 2 else (frame.width, frame.height)


def _messages(reports: Sequence[tuple[int, str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{component}: {message.strip()}" for _, component, message in reports))


_num_collectors = 0
_collectors_lock = Lock()
logging.getLogger("libav").addHandler(logging.NullHandler())


@contextmanager
def _collected_errors() -> Iterator[list[tuple[int, str, str]]]:
    """Collect the errors that FFmpeg reports in this thread: (level, component, message)."""
    global _num_collectors
    with _collectors_lock:
        _num_collectors += 1
        if _num_collectors == 1:
            av.logging.set_level(av.logging.ERROR)
            av.logging.set_skip_repeated(False)  # a message may repeat the last one of another file
    try:
        with av.logging.Capture() as reports:
            yield reports
    finally:
        with _collectors_lock:
            _num_collectors -= 1
            if _num_collectors == 0:
                av.logging.set_level(None)
