"""What is known of a video file, and the error that says why it cannot be used."""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.errors import UsageError


class VideoError(UsageError):
    """A video file that cannot be used; the message names the file and what was wrong with it.

    Attributes:
        lasting: whether the file's content is at fault, so that another try would end alike.
    """

    def __init__(self, path: Path, reason: str, *, lasting: bool = True) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.lasting = lasting

    def __reduce__(self) -> tuple[Any, ...]:  # crosses process borders
        return (_video_error, (self.path, self.reason, self.lasting))


def _video_error(path: Path, reason: str, lasting: bool) -> VideoError:
    return VideoError(path, reason, lasting=lasting)


@dataclass(frozen=True)
class VideoInfo:
    """What decoding a file from start to end showed: all that is needed to find any of its frames again.

    Attributes:
        num_frames: frames that decode.
        fps: mean displayed frames a second.
        width: pixels, as shown (a rotation in the file is applied).
        height: likewise.
        header_frames: what the container's header says; None where it says nothing.
        codec: the decoder's name.
        digest: hash of the video stream's packets; equal where the content is.
        damage: what FFmpeg reported although frames came out; such a file is never read from its middle.
        stamps: time stamps of the frames in units of ``time_base``, packed; empty where they do not increase strictly.
        time_base: seconds of a unit, as numerator and denominator.
        key_frames: frames from which decoding may begin, packed.
        open_groups: whether frames that are shown before a key frame come after it in the file.
        made: of a copy: with what settings it was made.
    """

    num_frames: int
    fps: float
    width: int
    height: int
    header_frames: int | None = None
    codec: str = ""
    digest: str = ""
    damage: tuple[str, ...] = ()
    stamps: str = ""
    time_base: tuple[int, int] = (1, 1)
    key_frames: str = ""
    open_groups: bool = False
    made: str = ""

    @property
    def duration(self) -> float:
        """Seconds from the first frame's appearance to the last one's end."""
        return self.num_frames / self.fps

    @property
    def times(self) -> NDArray[np.float64]:
        """When each frame is shown, in seconds from the first one, (num_frames,), strictly increasing."""
        if not self.stamps:
            return np.arange(self.num_frames) / self.fps
        stamps = unpack(self.stamps)
        return np.asarray((stamps - stamps[0]) * (self.time_base[0] / self.time_base[1]), np.float64)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "VideoInfo":
        """Read what `to_json` returned."""
        lists = {name: tuple(content[name]) for name in ("damage", "time_base")}
        return cls(**{**content, **lists})


def pack(numbers: Sequence[int]) -> str:
    """Return increasing whole numbers as short text.

    >>> unpack(pack([5, 8, 11, 15])).tolist()
    [5, 8, 11, 15]
    """
    steps = np.diff(np.asarray(numbers, np.int64), prepend=0)
    return base64.b64encode(zlib.compress(steps.astype("<i8").tobytes(), 9)).decode()


def unpack(text: str) -> NDArray[np.int64]:
    """Return the numbers that `pack` wrote."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i8")
    return np.asarray(np.cumsum(steps), np.int64)
