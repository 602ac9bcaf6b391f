"""The default decoder: FFmpeg through PyAV.

It returns any set of a file's frames, each decoded and converted once. Frame i is the i-th one that FFmpeg's decoder
returns, in display order; neither time stamps nor headers are trusted to count frames.

Files are opened and closed inside each call: loader workers share nothing, whatever their start method.
"""

import logging
import math
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import av
import av.logging
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dsn_lightning.errors import UsageError
from dsn_lightning.video.decoder import Frames, Indices
from dsn_lightning.video.display import FrameConverter, displayed_size, empty_frames
from dsn_lightning.video.file_part import FilePart
from dsn_lightning.video.probing import Probe, Report
from dsn_lightning.video.video_info import VideoError, VideoInfo, check_unchanged, file_of, unpack

Opened = tuple[InputContainer, VideoStream]

_SEEK_COST = 12
"""Number of frames that can be decoded in the time of a seek (measured on 17 s videos of ActivityNet, 160x120)."""

_SKIPPING = {("h264", container) for container in ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")}
"""Decoders and containers with which frames that nothing refers to are skipped."""

_INDEXING_DEADLINES = 10
_INDEXING_BYTES = 2**28

_FORMATS = (
    "apng asf asf_o av1 avi avs avs2 avs3 bmp_pipe cavsvideo dirac dnxhd dv evc flv gif gif_pipe gxf h261 h263 h264 "
    "hevc ivf jpeg_pipe live_flv lxf m4v matroska mjpeg mjpeg_2000 mov mpeg mpegts mpegvideo mpjpeg mxf nsv nut "
    "nuv obu ogg png_pipe rm swf tiff_pipe vc1 vc1test vvc webp_pipe wtv yuv4mpegpipe"
)
ONLY_THIS_FILE = {"format_whitelist": ",".join(_FORMATS.split()), "protocol_whitelist": "file"}
"""Options with which FFmpeg reads one file: playlists and patterns of names would pull in others."""

_detours: dict[tuple[Path, str], int] = {}
"""Files in which a seek to a key frame missed it -> key frames to go back further; 2: reading from the start."""
_undivided: set[tuple[Path, str]] = set()
"""Files of which a frame was missing after others had been skipped; all of their frames are decoded."""


@dataclass(frozen=True)
class PyAV:
    """FFmpeg through PyAV, whose packages include FFmpeg.

    Attributes:
        deadline: seconds after which a call gives up, checked between packets. `probe`, which decodes the whole file,
            has ten times as long for each 256 MB (2**28 bytes) of the file, and at least once.
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
            VideoError: the file is missing, frames in it are missing or misplaced, it is more damaged than FFmpeg can
                conceal, or has no video frames.
        """
        with _collected_errors() as reports, self._open(path) as opened:
            times = _INDEXING_DEADLINES * max(1.0, path.stat().st_size / _INDEXING_BYTES)
            packets = self._packets(path, opened, Deadline(times * self.deadline, f" to index: {times:.3g} times"))
            return Probe(path, *opened, reports).read(packets)

    def read(self, path: Path, indices: Indices, size: tuple[int, int], info: VideoInfo | None = None) -> Frames:
        """Return the frames ``indices``, uint8 (F, H, W, 3), scaled to ``size``; see `Decoder.read`.

        Frames in between are not converted, and those of H.264 that no other frame refers to are not decoded. Many are
        skipped where a key frame follows. Decoding stops after the last index.

        Raises:
            VideoError: the file is damaged, or ends before the last index.
        """
        check_unchanged(path, info)
        wanted = [int(i) for i in indices]
        out = empty_frames(len(wanted), size)
        convert = FrameConverter(size)
        position = {index: i for i, index in enumerate(wanted)}
        deadline = Deadline(self.deadline)
        needed = _stamps_of_needed(path, wanted, info)
        with self._open(path, info) as opened:
            for start, last in _runs(wanted, None if _detour(path, info) == 2 else info):
                try:
                    for index, frame in self._frames_from(path, opened, start, info, deadline, needed):
                        if index in position:
                            convert(frame, out[position.pop(index)])
                        if index == last:
                            break
                except _SeekError:
                    assert info is not None
                    _detours[path, info.digest] = _detour(path, info) + 1
                    return PyAV.read(self, path, wanted, size, info)
        if position and needed:
            assert info is not None
            _undivided.add((path, info.digest))
            return PyAV.read(self, path, wanted, size, info)
        if position:
            raise VideoError(path, f"ends before frame {min(position)}; has the file changed since it was indexed?")
        return out

    def frames(self, path: Path, size: tuple[int, int] | None = None) -> Iterator[Frames]:
        """Yield all frames in display order, upright, uint8 (H, W, 3), at their size or scaled."""
        convert = None if size is None else FrameConverter(size)
        with self._open(path) as opened:
            for _, frame in self._frames_from(path, opened, 0, None, Deadline(self.deadline)):
                convert = convert or FrameConverter(displayed_size(frame))
                yield convert(frame)

    def _frames_from(
        self,
        path: Path,
        opened: Opened,
        start: int,
        info: VideoInfo | None,
        deadline: "Deadline",
        needed: Mapping[int | None, int] | None = None,
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yield each frame with its index, beginning at the key frame ``start``.

        With ``needed``, time stamp -> index, only these frames are yielded; see `_stamps_of_needed`.

        Raises:
            _SeekError: the seek missed the key frame, as it may in containers without an index.
        """
        container, stream = opened
        frames = (frame for _, frames in self._packets(path, opened, deadline, needed) for frame in frames)
        if start == 0 or info is None:
            if needed:
                yield from ((needed[frame.pts], frame) for frame in frames if frame.pts in needed)
            else:
                yield from enumerate(frames)
            return
        stamps, keys = unpack(info.stamps), unpack(info.key_frames).tolist()
        before = max(0, keys.index(start) - _detour(path, info))
        container.seek(int(stamps[keys[before]]), stream=stream)
        index = start
        for frame in frames:
            if index == start and frame.pts is not None and frame.pts < stamps[start]:
                continue  # displayed before the key frame, and decoded from frames before it
            expected = index < len(stamps) and (frame.pts == stamps[index] or (needed and index > start))
            if not expected or (index == start and not frame.key_frame):
                raise _SeekError
            if not needed:
                yield index, frame
            elif frame.pts in needed:
                yield needed[frame.pts], frame
            index += 1
        if index < len(stamps) and not needed:
            raise _SeekError

    @contextmanager
    def _open(self, path: Path, info: VideoInfo | None = None) -> Iterator[Opened]:
        if not (file := file_of(path, info)).is_file():
            raise VideoError(path, _not_a_file(file), transient=True)
        try:
            timeout = None if math.isinf(self.deadline) else self.deadline
            with _container(path, timeout, None if info is None else info.part) as container:
                stream = _video_stream(path, container, info)
                stream.codec_context.thread_count = 1  # loader workers are the parallelism
                yield container, stream
        except av.error.ExitError as error:  # a read timed out
            raise Deadline(self.deadline).error(path) from error
        except av.FFmpegError as error:
            from_system = isinstance(error, OSError | MemoryError)  # not caused by the content
            raise VideoError(path, f"cannot be decoded ({error.strerror})", transient=from_system) from error
        except OSError as error:  # from reading a part of a file
            raise VideoError(path, error.strerror or str(error), transient=True) from error

    def _packets(
        self, path: Path, opened: Opened, deadline: "Deadline", needed: Mapping[int | None, int] | None = None
    ) -> Iterator[tuple[Packet, list[VideoFrame]]]:
        """Yield each packet with the frames that it completes, until the deadline.

        With ``needed``, time stamp -> index, frames are skipped that are not needed, nor any other frame's reference.
        """
        container, stream = opened
        skips: Literal["DEFAULT", "NONREF"] | None = None
        for packet in container.demux(stream):
            deadline.check(path)
            if needed:
                before, skips = skips, "DEFAULT" if packet.pts is None or packet.pts in needed else "NONREF"
                if skips != before:
                    stream.codec_context.skip_frame = skips
            frames = stream.decode(packet)
            for frame in frames:
                if frame.is_corrupt:
                    av.logging.log(av.logging.ERROR, stream.codec_context.name, "corrupt frame")
            yield packet, frames


@dataclass(frozen=True)
class Deadline:
    """When a call gives up: ``seconds`` after this was created."""

    seconds: float
    meaning: str = " to decode:"
    end: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "end", time.monotonic() + self.seconds)

    def check(self, path: Path) -> None:
        """Raise the error of ``path`` if the time is over."""
        if time.monotonic() > self.end:
            raise self.error(path)

    def error(self, path: Path) -> VideoError:
        """Return the error that names the key."""
        reason = f"took longer than {self.seconds:g} s{self.meaning} dataset.reading.decoder.deadline; raise it"
        return VideoError(path, reason, transient=True)


@contextmanager
def _container(path: Path, timeout: float | None, part: FilePart | None) -> Iterator[InputContainer]:
    """Open a file, or a part of one, whose format is one that contains its video."""
    with ExitStack() as opened:
        source: Any = path if part is None else opened.enter_context(part.open())
        try:
            container = av.open(source, timeout=timeout, metadata_errors="replace", options=ONLY_THIS_FILE)
        except av.error.ArgumentError as error:
            reason = "is no video file, but a playlist or of another format that is not read"
            raise VideoError(path, reason) from error
        yield opened.enter_context(container)


def _video_stream(path: Path, container: InputContainer, info: VideoInfo | None) -> VideoStream:
    """Return the indexed stream, or the one that FFmpeg finds best, but never a cover picture."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if info is not None:
        streams = [stream for stream in streams if stream.index == info.stream] if info.container else streams
    if not streams:
        raise VideoError(path, "no video stream" + (" besides a cover picture" if container.streams.video else ""))
    best = container.streams.best("video")
    stream = next((stream for stream in streams if best is not None and stream.index == best.index), streams[0])
    if stream.codec_context is None:
        raise VideoError(path, "no decoder for its video stream")
    return stream


def _not_a_file(path: Path) -> str:
    if path.is_dir():
        return "is a folder; folders of images are read with dataset/reading/decoder=frames"
    return "no such video file"


class _SeekError(Exception):
    """A seek did not lead to the frame in the index."""


def _detour(path: Path, info: VideoInfo | None) -> int:
    return 0 if info is None else _detours.get((path, info.digest), 0)


def _stamps_of_needed(path: Path, wanted: Sequence[int], info: VideoInfo | None) -> dict[int | None, int] | None:
    """Return the time stamps of frames to read, with their indices, if the other frames may be skipped.

    H.264 marks frames that no other frame refers to. (HEVC does so for some layers of a stream only.) The frames that
    are not skipped are told by their time stamps, which must be in the index, in a container that keeps them.
    """
    if info is None or not info.stamps or info.damage or (info.codec, info.container) not in _SKIPPING:
        return None
    if (path, info.digest) in _undivided:
        return None
    stamps = unpack(info.stamps)
    return {int(stamps[index]): index for index in wanted if index < len(stamps)}


def _runs(wanted: Sequence[int], info: VideoInfo | None) -> list[tuple[int, int]]:
    """Divide the frames to read into runs: (key frame to start at, last frame to read).

    >>> from dsn_lightning.video.video_info import pack
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


_num_collectors = 0
_collectors_lock = Lock()
logging.getLogger("libav").addHandler(logging.NullHandler())


@contextmanager
def _collected_errors() -> Iterator[list[Report]]:
    """Collect the errors that FFmpeg reports in this thread."""
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
