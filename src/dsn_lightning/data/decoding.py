"""Frames out of video files, with PyAV.

`probe` decodes a file once and counts what really comes out of it, since frame counts in headers lie; `read_frames`
returns any set of frames in one pass. Containers are opened and closed inside the call, so nothing is shared between
loader workers.
"""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from filelock import FileLock
from numpy.typing import NDArray
from rich.progress import track

from dsn_lightning.errors import UsageError

Frames = NDArray[np.uint8]


class VideoError(UsageError):
    """A video file that cannot be used; the message names the file and what was wrong with it."""


@dataclass(frozen=True)
class VideoInfo:
    """What decoding a file from start to end showed.

    Attributes:
        num_frames: frames that decode.
        fps: mean displayed frames a second.
        width: pixels.
        height: pixels.
        times: display time of each frame in seconds from the first one, strictly increasing; empty where frame i is
            shown at i / fps, to a millisecond.
    """

    num_frames: int
    fps: float
    width: int
    height: int
    times: tuple[float, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds from the first frame's appearance to the last one's end."""
        return self.num_frames / self.fps


@contextmanager
def _open(path: Path) -> Iterator[Iterator[VideoFrame]]:
    if not path.is_file():
        raise VideoError(f"{path}: no such video file")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError(f"{path}: holds no video stream")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # loader workers are the parallelism
            yield container.decode(stream)
    except av.FFmpegError as error:
        raise VideoError(f"{path}: cannot be decoded ({error.strerror})") from error


def probe(path: Path) -> VideoInfo:
    """Decode ``path`` to its end and report what came out.

    Raises:
        VideoError: the file is missing, damaged, or holds no video frame.
    """
    times: list[float] = []
    width = height = 0
    with _open(path) as frames:
        for frame in frames:
            width, height = frame.width, frame.height
            times.append(frame.time if frame.time is not None else float("nan"))
            rate = frame.time_base
    if not times:
        raise VideoError(f"{path}: holds no video frame")
    seconds = np.asarray(times) - times[0]
    steps = np.diff(seconds)
    if np.isnan(seconds).any() or (steps <= 0).any():  # raw streams have no usable time stamps
        fps = 1 / float(rate) if rate else 25.0
        return VideoInfo(len(times), fps, width, height)
    fps = len(steps) / float(seconds[-1]) if len(steps) else 25.0
    regular = bool((np.abs(seconds - np.arange(len(times)) / fps) < 1e-3).all())
    return VideoInfo(len(times), fps, width, height, () if regular else tuple(float(t) for t in seconds))


def read_frames(path: Path, indices: Sequence[int] | NDArray[np.int64], size: tuple[int, int]) -> Frames:
    """Return the frames ``indices`` (strictly increasing; 0 is the first displayed one), uint8 (F, H, W, 3).

    Frames before and between the wanted ones are decoded but not converted; decoding stops after the last one.

    Args:
        path: the video file.
        indices: what to read; each frame is decoded and converted once.
        size: (height, width) to scale to while converting.

    Raises:
        VideoError: the file is damaged, or ends before the last index.
    """
    height, width = size
    wanted = iter(indices)
    target = next(wanted, None)
    out = np.empty((len(indices), height, width, 3), dtype=np.uint8)
    filled = 0
    reformatter = VideoReformatter()
    if target is None:
        return out
    with _open(path) as frames:
        for index, frame in enumerate(frames):
            if index != target:
                continue
            scaled = reformatter.reformat(
                frame, width=width, height=height, format="rgb24", interpolation="BILINEAR", threads=1
            )
            out[filled] = scaled.to_ndarray()
            filled += 1
            target = next(wanted, None)
            if target is None:
                return out
    raise VideoError(f"{path}: ends before frame {target}; has the file changed since it was indexed?")


class FrameCache:
    """`read_frames` that keeps what it decoded, for small data sets that are read many times.

    A video is decoded whole the first time one of its frames is asked for; memory is frames * H * W * 3 bytes in each
    process that reads.
    """

    def __init__(self, num_frames: dict[Path, int]) -> None:
        self._num_frames = num_frames
        self._frames: dict[tuple[Path, tuple[int, int]], Frames] = {}

    def __call__(self, path: Path, indices: Sequence[int] | NDArray[np.int64], size: tuple[int, int]) -> Frames:
        """Return the frames ``indices``, uint8 (F, H, W, 3); see `read_frames`."""
        key = (path, size)
        if key not in self._frames:
            self._frames[key] = read_frames(path, range(self._num_frames[path]), size)
        return self._frames[key][np.asarray(indices)]


def _fingerprint(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def index_videos(paths: Sequence[Path], index_file: Path, *, num_threads: int) -> dict[Path, VideoInfo]:
    """Return `probe` of every file; results are kept in ``index_file`` and reused while size and date are the same.

    Raises:
        VideoError: for the first file that cannot be used.
    """
    index_file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(index_file.with_suffix(".lock")):  # of several processes one decodes, the others read what it found
        return _index_videos(paths, index_file, num_threads=num_threads)


def _index_videos(paths: Sequence[Path], index_file: Path, *, num_threads: int) -> dict[Path, VideoInfo]:
    known: dict[str, list] = {}
    if index_file.is_file():
        try:
            known = json.loads(index_file.read_text())
        except json.JSONDecodeError:
            known = {}  # a damaged index is made again
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise VideoError(f"{missing}: no such video file")
    stale = [p for p in paths if known.get(str(p), [None])[0] != _fingerprint(p)]
    if stale:
        with ThreadPoolExecutor(num_threads) as pool:  # FFmpeg releases the interpreter's lock
            infos = pool.map(probe, stale)
            for path, info in zip(stale, track(infos, f"Indexing {len(stale)} videos", len(stale)), strict=True):
                known[str(path)] = [_fingerprint(path), asdict(info)]
        write_atomically(index_file, json.dumps(known))
    return {path: VideoInfo(**known[str(path)][1]) for path in paths}


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    os.replace(partial, path)
