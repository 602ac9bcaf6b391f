"""The kinds of copies that are made of a data set's videos, with their settings: small ones, and optical flow."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.prepare.optical_flow import flow_frames
from dsn_lightning.video.video_info import VideoInfo, unpack


def small_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return (height, width) with the shorter side at ``short_side`` or less, in even numbers; never enlarged.

    >>> small_size(240, 320, 128), small_size(320, 240, 128), small_size(35, 64, 128)
    ((128, 170), (170, 128), (36, 64))
    """
    scale = min(1.0, short_side / min(height, width))
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


class Kind(ABC):
    """A kind of copy, with its settings.

    Attributes:
        folder: of such copies, below the prepared folder.
        suffix: of such files.
        version: raised when the same settings would give other copies.
    """

    folder: ClassVar[str]
    suffix: ClassVar[str]
    container: ClassVar[str]
    codec: ClassVar[str]
    pixels: ClassVar[str]
    version: ClassVar[int] = 1

    @classmethod
    def place(cls, prepared: Path, root: Path, path: Path) -> Path:
        """Return where the copy of ``path`` stands."""
        relative = path.relative_to(root)
        return prepared / cls.folder / relative.with_name(relative.name + cls.suffix)

    def settings(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)  # type: ignore[call-overload]

    def label(self, info: VideoInfo) -> str:
        """Return what stands in a copy's metadata: how and from what content it was made."""
        settings = " ".join(f"{name}={value}" for name, value in self.settings().items())
        return f"dsn-prepare {self.version} {self.folder} {settings} of {origin(info)}"

    @abstractmethod
    def frame_size(self, info: VideoInfo) -> tuple[int, int]:
        """Return a copy's (height, width)."""

    @abstractmethod
    def pictures(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Turn the video's frames, scaled to `frame_size`, into the copy's."""

    @abstractmethod
    def options(self) -> dict[str, str]:
        """Return the encoder's options."""

    def stamps(self, info: VideoInfo) -> tuple[NDArray[np.int64], Fraction]:
        """Return the frames' time stamps, the first one 0, and their unit in seconds."""
        if not info.stamps:
            return np.arange(info.num_frames), 1 / rate_of(info)
        stamps = unpack(info.stamps)
        return stamps - stamps[0], Fraction(*info.time_base)


@dataclass(frozen=True)
class Small(Kind):
    """Small H.264 copies in MP4, whose frames can be reached quickly.

    Frames have the original's time stamps, counted from the first one, in the original's own unit.

    Attributes:
        short_side: pixels of the shorter side; smaller videos keep their size.
        keyint: a key frame each so many frames.
        crf: quality of libx264, 0 (best) to 51.
    """

    short_side: int = 128
    keyint: int = 8
    crf: int = 18
    folder: ClassVar[str] = "small"
    suffix: ClassVar[str] = ".mp4"
    container: ClassVar[str] = "mp4"
    codec: ClassVar[str] = "libx264"
    version: ClassVar[int] = 2
    pixels: ClassVar[str] = "yuv420p"

    def frame_size(self, info: VideoInfo) -> tuple[int, int]:
        """Return a copy's (height, width), both even."""
        return small_size(info.height, info.width, self.short_side)

    def pictures(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Return the frames as they are."""
        return iter(frames)

    def options(self) -> dict[str, str]:
        """Return libx264's options. ``veryfast`` gives files of medium's size, half a decibel worse.

        No macroblock tree: of small frames, it reads memory that nobody has written where the processor has AVX-512,
        and files would not always have the same bytes.
        """
        keys = {"g": str(self.keyint), "keyint_min": str(self.keyint), "sc_threshold": "0", "bf": "0", "mbtree": "0"}
        return {"crf": str(self.crf), "preset": "veryfast", **keys}


@dataclass(frozen=True)
class Flow(Kind):
    """Optical flow (`flow_frames`), lossless FFV1 in Matroska; each frame is a key frame.

    Time stamps are the original's to the millisecond, which is Matroska's unit.

    Attributes:
        size: (height, width) to which frames are scaled before.
        bound: pixels a frame at which the flow is clipped.
    """

    size: tuple[int, int] = (128, 171)
    bound: float = 20.0
    folder: ClassVar[str] = "flow"
    suffix: ClassVar[str] = ".mkv"
    container: ClassVar[str] = "matroska"
    codec: ClassVar[str] = "ffv1"
    pixels: ClassVar[str] = "bgr0"  # FFV1's 8-bit RGB

    def frame_size(self, info: VideoInfo) -> tuple[int, int]:
        """Return a copy's (height, width), that of the settings."""
        return self.size

    def pictures(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Return the frames' flow."""
        return flow_frames(frames, bound=self.bound)

    def options(self) -> dict[str, str]:
        """Return FFV1's options."""
        return {"level": "3", "slices": "1", "coder": "1", "context": "0", "g": "1"}

    def stamps(self, info: VideoInfo) -> tuple[NDArray[np.int64], Fraction]:
        """Return the frames' time stamps in milliseconds; frames closer than that are a millisecond apart."""
        stamps, unit = super().stamps(info)
        rounded = np.rint(stamps * float(unit * 1000)).astype(np.int64)
        index = np.arange(len(rounded))
        return np.maximum.accumulate(rounded - index) + index, Fraction(1, 1000)


def origin(info: VideoInfo) -> str:
    """Return what a video's content is known by: its stream, and how that is shown."""
    content = (info.digest, info.num_frames, info.width, info.height, info.stamps, info.time_base)
    return hashlib.blake2b(repr(content).encode(), digest_size=16).hexdigest()


def rate_of(info: VideoInfo) -> Fraction:
    """Return frames a second as a fraction of small numbers, 30000/1001 for one."""
    return max(Fraction(1, 1001), Fraction(info.fps).limit_denominator(1001))
