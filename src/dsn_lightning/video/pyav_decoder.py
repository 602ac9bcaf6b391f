"""Frames out of video files.

A `Decoder` returns any set of a file's frames, each decoded and converted once. Frame i is the i-th one that the
decoder puts out, which is the order of display; time stamps are not trusted to count frames, nor are headers. `PyAV` is
the default; `dsn_lightning.video.torchcodec_decoder` and `dsn_lightning.video.image_folder` hold others, and pass the
same tests.

Files are opened and closed inside each call: nothing is shared between loader workers, however they are started.
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

from dsn_lightning.video.decoder import Frames, Indices, check_deadline
from dsn_lightning.video.video_info import VideoError, VideoInfo, pack, unpack

_SEEK_COST = 24
"""Frames that could be decoded in the time of a seek (measured: experiments/decoding_speed.py)."""


@dataclass(frozen=True)
class PyAV:
    """FFmpeg through PyAV, which brings its own.

    Attributes:
        deadline: seconds after which a call gives up, looked at between packets; `probe`, which decodes the whole, has
            ten times as long.
    """

    deadline: float = math.inf

    def __post_init__(self) -> None:
        check_deadline(self.deadline)

    def find(self, path: Path) -> Path:
        """Return the path as it is."""
        return path

    def mark(self, path: Path) -> list[Any]:
        """Return the file's size and date; the same for all decoders of video files, so that one index serves them."""
        status = path.stat()
        return ["video", status.st_size, status.st_mtime_ns]

    def probe(self, path: Path) -> VideoInfo:
        """Decode ``path`` to its end and report what came out.

        Raises:
            VideoError: the file is missing, truncated, damaged beyond what FFmpeg conceals, or holds no video frame.
        """
        stamps: list[int | None] = []
        key_frames: list[int] = []
        digest = hashlib.blake2b(digest_size=16)
        with _reports() as reports, self._open(path) as (container, stream):
            count = at_the_end = 0
            key, open_groups = -math.inf, False
            for packet, frames in self._packets(path, container, stream, time.monotonic() + 10 * self.deadline):
                if packet.size:  # the last one, empty, only asks for the frames that are left
                    count, at_the_end = len(reports), len(reports) - count
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
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            header, codec = stream.frames or None, stream.codec_context.name
            demuxer = container.format.name
        _refuse_damaged(path, reports, demuxer)
        if at_the_end:
            raise VideoError(path, f"is truncated, or damaged at its end ({_told(reports[-1:])[0]})")
        if not stamps:
            raise VideoError(path, "holds no video frame")
        known = [s for s in stamps if s is not None]
        increasing = len(known) == len(stamps) and bool((np.diff(np.asarray(known, np.int64)) > 0).all())
        fps = float(rate)
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
            damage=_told(reports)[:3],
            stamps=pack(known) if increasing else "",
            time_base=(base.numerator, base.denominator),
            key_frames=pack(key_frames) if increasing else "",
            open_groups=open_groups,
        )

    def read(self, path: Path, indices: Indices, size: tuple[int, int], info: VideoInfo | None = None) -> Frames:
        """Return the frames ``indices`` (strictly increasing; 0 is the first displayed one), uint8 (F, H, W, 3).

        Frames in between are decoded but not converted, unless a key frame allows to jump over many of them; decoding
        stops after the last one.

        Args:
            path: the video file.
            indices: what to read; each frame is decoded and converted once.
            size: (height, width) to scale to while converting.
            info: what `probe` found; without it the file is read from its start.

        Raises:
            VideoError: the file is damaged, or ends before the last index.
        """
        wanted = [int(i) for i in indices]
        out = np.empty((len(wanted), *size, 3), dtype=np.uint8)
        convert = _Converter(size)
        place = {index: i for i, index in enumerate(wanted)}
        until = time.monotonic() + self.deadline
        with self._open(path) as (container, stream):
            for start, last in _runs(wanted, info):
                try:
                    for index, frame in self._from(path, container, stream, start, info, until):
                        if index in place:
                            out[place.pop(index)] = convert(frame)
                        if index == last:
                            break
                except _LostError:
                    return self.read(path, wanted, size)
        if place:
            raise VideoError(path, f"ends before frame {min(place)}; has the file changed since it was indexed?")
        return out

    def frames(self, path: Path, size: tuple[int, int] | None = None) -> Iterator[Frames]:
        """Yield all frames in the order of display, upright, uint8 (H, W, 3), at their own size or scaled.

        Raises:
            VideoError: the file is damaged.
        """
        convert = None if size is None else _Converter(size)
        with self._open(path) as (container, stream):
            for _, frame in self._from(path, container, stream, 0, None, time.monotonic() + self.deadline):
                convert = convert or _Converter(_upright(frame)[::-1])
                yield convert(frame)

    def _from(
        self,
        path: Path,
        container: InputContainer,
        stream: VideoStream,
        start: int,
        info: VideoInfo | None,
        until: float,
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yield each frame with its index, from the key frame ``start`` on."""
        packets = self._packets(path, container, stream, until)
        frames = (frame for _, frames in packets for frame in frames)
        if start == 0 or info is None:
            yield from enumerate(frames)
            return
        stamps = unpack(info.stamps)
        container.seek(int(stamps[start]), stream=stream)
        index = start
        for frame in frames:
            if index == start and frame.pts is not None and frame.pts < stamps[start]:
                continue  # shown before the key frame, and made from frames before it
            if index >= len(stamps) or frame.pts != stamps[index]:
                raise _LostError
            yield index, frame
            index += 1

    @contextmanager
    def _open(self, path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
        if not path.is_file():
            raise VideoError(path, "is a folder" if path.is_dir() else "no such video file", lasting=False)
        try:
            patience = None if math.isinf(self.deadline) else self.deadline
            with av.open(str(path), timeout=patience, metadata_errors="replace") as container:
                if not container.streams.video:
                    raise VideoError(path, "holds no video stream")
                stream = container.streams.video[0]
                if stream.codec_context is None:
                    raise VideoError(path, "there is no decoder for its video stream")
                stream.codec_context.thread_count = 1  # loader workers are the parallelism
                yield container, stream
        except av.error.ExitError as error:  # a read that waited too long
            raise VideoError(path, f"took longer than {self.deadline:g} s to read", lasting=False) from error
        except av.FFmpegError as error:
            passing = isinstance(error, OSError | MemoryError)  # what the system refused, not the file's content
            raise VideoError(path, f"cannot be decoded ({error.strerror})", lasting=not passing) from error

    def _packets(
        self, path: Path, container: InputContainer, stream: VideoStream, until: float
    ) -> Iterator[tuple[Packet, list[VideoFrame]]]:
        """Yield each packet with the frames that come out after it, as long as it is not too late."""
        began = time.monotonic()
        for packet in container.demux(stream):
            if time.monotonic() > until:
                raise VideoError(path, f"took longer than {max(0, until - began):.0f} s to decode", lasting=False)
            if packet.is_corrupt:
                raise VideoError(path, "is truncated")
            frames = stream.decode(packet)
            if any(frame.is_corrupt for frame in frames):
                av.logging.log(av.logging.ERROR, stream.codec_context.name, "corrupt frame")
            yield packet, frames


class _LostError(Exception):
    """A seek did not lead where the index says."""


def _runs(wanted: Sequence[int], info: VideoInfo | None) -> list[tuple[int, int]]:
    """Divide the frames to read into runs: (key frame to begin at, last frame to read).

    >>> info = VideoInfo(500, 25, 8, 8, stamps=pack(range(500)), key_frames=pack([0, 100, 200, 300, 400]))
    >>> _runs([3, 90, 120, 310, 320], info)
    [(0, 120), (300, 320)]
    """
    jumps = info is not None and bool(info.stamps) and not info.damage  # concealment depends on what came before
    keys = unpack(info.key_frames).tolist() if info is not None and jumps and info.key_frames else []
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
    """Turns decoded frames into upright RGB of one size."""

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
    """Return a frame's (width, height) as it is shown."""
    return (frame.height, frame.width) if round(frame.rotation / 90) % 2 else (frame.width, frame.height)


def _refuse_damaged(path: Path, reports: Sequence[tuple[int, str, str]], demuxer: str) -> None:
    """Decoders conceal what is damaged in a picture; where the container is, pictures are missing or misplaced."""
    for _, who, what in reports:
        if who in ("", demuxer):
            raise VideoError(path, f"is truncated or damaged ({demuxer}: {what.strip()})")


def _told(reports: Sequence[tuple[int, str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{who}: {what.strip()}" for _, who, what in reports))


_reporting = 0

_reporting_lock = Lock()
logging.getLogger("libav").addHandler(logging.NullHandler())


@contextmanager
def _reports() -> Iterator[list[tuple[int, str, str]]]:
    """Collect what FFmpeg reports as an error in this thread: (level, who, message)."""
    global _reporting
    with _reporting_lock:
        _reporting += 1
        if _reporting == 1:
            av.logging.set_level(av.logging.ERROR)
            av.logging.set_skip_repeated(False)  # a file's first message may be the last one's of the file before
    try:
        with av.logging.Capture() as reports:
            yield reports
    finally:
        with _reporting_lock:
            _reporting -= 1
            if _reporting == 0:
                av.logging.set_level(None)
