"""What indexing a video file finds out, and the error that says why a file cannot be used."""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.errors import UsageError
from dsn_lightning.video.file_part import FilePart

MAX_FRAMES = 2**25
"""Frames of a video at most: 15 days at 25 frames per second."""

_NOT_STORED = frozenset({"seen", "part"})


class VideoError(UsageError):
    """A video file that cannot be used; the message names the file and the reason.

    Attributes:
        path: the file.
        reason: what is wrong.
        transient: whether another try may succeed, because the cause is not the content of the file.
    """

    def __init__(self, path: Path, reason: str, *, transient: bool = False) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.transient = transient

    def __reduce__(self) -> tuple[Any, ...]:  # workers send it to other processes
        return partial(VideoError, transient=self.transient), (self.path, self.reason)


@dataclass(frozen=True)
class VideoInfo:
    """What decoding a file from start to end found: all that is needed to reach any of its frames again.

    Attributes:
        num_frames: frames that decode.
        fps: mean number of displayed frames per second.
        width: displayed width in pixels (the rotation in the file is applied).
        height: displayed height in pixels.
        header_frames: number of frames in the container's header; None if it has none.
        codec: name of the decoder.
        digest: hash of the video stream's packets, equal for equal content.
        damage: errors in pictures that FFmpeg concealed; such a file is always read from its start.
        remarks: what FFmpeg reported about the container although no frame is missing.
        stamps: time stamps of the frames in units of ``time_base``, packed; empty unless strictly increasing.
        time_base: seconds per unit, as numerator and denominator.
        key_frames: frames at which decoding can begin, packed.
        open_groups: whether frames displayed before a key frame come after it in the file.
        made_with: the settings that a copy was made with; empty for an original.
        container: FFmpeg's name of the container.
        stream: index of the video stream in the container.
        mirrored: whether the file says to mirror its frames.
        seen: size in bytes and modification time in nanoseconds of the file that an index knows; not stored with the
            rest. None: not compared when the file is read.
        part: where the video lies, if it is a part of a file; not stored with the rest. The path is then only a name.
    """

    num_frames: int
    fps: float
    width: int
    height: int
    header_frames: int | None = None
    codec: str = ""
    digest: str = ""
    damage: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    stamps: str = ""
    time_base: tuple[int, int] = (1, 1)
    key_frames: str = ""
    open_groups: bool = False
    made_with: str = ""
    container: str = ""
    stream: int = 0
    mirrored: bool = False
    seen: tuple[int, int] | None = None
    part: FilePart | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """What is unusual about the file, although its frames can be used."""
        return (*self.damage, *self.remarks)

    @property
    def duration(self) -> float:
        """Seconds from the start of the first frame to the end of the last one."""
        return self.num_frames / self.fps

    @property
    def times(self) -> NDArray[np.float64]:
        """Display time of each frame in seconds from the first one, (num_frames,), strictly increasing."""
        if not self.stamps:
            return np.arange(self.num_frames) / self.fps
        stamps = unpack(self.stamps)
        return np.asarray((stamps - stamps[0]) * (self.time_base[0] / self.time_base[1]), np.float64)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values, without ``seen`` and ``part``."""
        return {name: value for name, value in asdict(self).items() if name not in _NOT_STORED}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "VideoInfo":
        """Return the object that `to_json` described; ValueError if it has a field that is never stored."""
        if _NOT_STORED & content.keys():
            raise ValueError("fields that are not stored")
        return cls(**{**content, **{name: tuple(content[name]) for name in ("damage", "remarks", "time_base")}})


def check_unflagged(path: Path, info: VideoInfo) -> None:
    """Raise `VideoError` if the file is flagged (``dataset.reading.on_damage=refuse``)."""
    if info.flags:
        raise VideoError(path, f"{info.flags[0]} (dataset.reading.on_damage=refuse)")


def file_of(path: Path, info: VideoInfo | None) -> Path:
    """Return the file that a video lies in: its path, or the file that it is a part of."""
    return path if info is None or info.part is None else info.part.file


def check_unchanged(path: Path, info: VideoInfo | None) -> None:
    """Raise `VideoError` if the file is not the one that was indexed: its size or modification time differs."""
    if info is None or info.seen is None:
        return
    try:
        status = file_of(path, info).stat()
    except FileNotFoundError as error:
        raise VideoError(path, "no such video file", transient=True) from error
    except OSError as error:
        raise VideoError(path, error.strerror or str(error), transient=True) from error
    if (status.st_size, status.st_mtime_ns) != info.seen:
        raise VideoError(path, "has changed since it was indexed; start again, which indexes it anew")


def pack(numbers: Sequence[int]) -> str:
    """Return increasing whole numbers as a short text.

    >>> unpack(pack([5, 8, 11, 15])).tolist()
    [5, 8, 11, 15]
    """
    steps = np.diff(np.asarray(numbers, np.int64), prepend=0)
    return base64.b64encode(zlib.compress(steps.astype("<i8").tobytes(), 9)).decode()


@lru_cache(maxsize=8)  # a video's time stamps and key frames are asked for several times while it is read
def unpack(text: str) -> NDArray[np.int64]:
    """Return the numbers that `pack` encoded, read-only.

    Raises:
        ValueError: the text is damaged, or encodes more numbers than a video has frames.
    """
    unzip = zlib.decompressobj()
    try:
        content = unzip.decompress(base64.b64decode(text), 8 * MAX_FRAMES)
    except zlib.error as error:
        raise ValueError(f"damaged numbers ({error})") from error
    if not unzip.eof:
        raise ValueError(f"damaged numbers, or more than {MAX_FRAMES}")
    numbers = np.asarray(np.cumsum(np.frombuffer(content, "<i8")), np.int64)
    numbers.setflags(write=False)
    return numbers
