"""The kinds of copies of a data set's videos, with their settings: small copies, frames as JPEG, optical flow."""

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
from dsn_lightning.video.resize import Resize, scaled_size
from dsn_lightning.video.video_info import VideoInfo, unpack


def small_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return (height, width) with a shorter side of at most ``short_side``, in even numbers; never enlarged.

    >>> small_size(240, 320, 128), small_size(320, 240, 128), small_size(35, 64, 128)
    ((128, 170), (170, 128), (36, 64))
    """
    scale = min(1.0, short_side / min(height, width))
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


class CopyKind(ABC):
    """A kind of copy, with its settings; container, codec and pixel format are FFmpeg's names."""

    folder: ClassVar[str]  # of such copies, below the prepared folder
    suffix: ClassVar[str]
    container: ClassVar[str]
    codec: ClassVar[str]
    pixels: ClassVar[str]
    version: ClassVar[int] = 1  # raised when the same settings would give different copies

    @classmethod
    def target(cls, prepared: Path, root: Path, path: Path) -> Path:
        """Return the path of the copy of a video below ``root``, whether it exists or not."""
        relative = path.relative_to(root)
        return prepared / cls.folder / relative.with_name(relative.name + cls.suffix)

    def settings(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)  # type: ignore[call-overload]

    def label(self, info: VideoInfo) -> str:
        """Return the text in a copy's metadata: its settings and the hash of the original's content."""
        settings = " ".join(f"{name}={value}" for name, value in self.settings().items())
        return f"dsn-prepare {self.version} {self.folder} {settings} of {content_hash(info)}"

    @abstractmethod
    def frame_size(self, info: VideoInfo) -> tuple[int, int]:
        """Return a copy's (height, width)."""

    def pictures(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Turn the video's frames, scaled to `frame_size`, into the copy's frames."""
        return iter(frames)

    @abstractmethod
    def options(self) -> dict[str, str]:
        """Return the encoder's options."""

    def stamps(self, info: VideoInfo) -> tuple[NDArray[np.int64], Fraction]:
        """Return the time stamps of the frames, beginning with 0, and their unit in seconds."""
        if not info.stamps:
            return np.arange(info.num_frames), 1 / frame_rate(info)
        stamps = unpack(info.stamps)
        return stamps - stamps[0], Fraction(*info.time_base)


@dataclass(frozen=True)
class SmallCopy(CopyKind):
    """Small H.264 copies in MP4, with quick access to every frame and the original's time stamps from the first one."""

    short_side: int = 128  # pixels; smaller videos keep their size
    keyint: int = 8  # frames from one key frame to the next
    crf: int = 18  # quality of libx264, 0 (best) to 51
    folder: ClassVar[str] = "small"
    suffix: ClassVar[str] = ".mp4"
    container: ClassVar[str] = "mp4"
    codec: ClassVar[str] = "libx264"
    version: ClassVar[int] = 3
    pixels: ClassVar[str] = "yuv420p"

    def frame_size(self, info: VideoInfo) -> tuple[int, int]:
        """Return a copy's (height, width), both even."""
        return small_size(info.height, info.width, self.short_side)

    def options(self) -> dict[str, str]:
        """Return libx264's options. ``veryfast`` gives files as small as ``medium``, half a decibel worse.

        No macroblock tree: with small frames, it reads uninitialised memory on processors with AVX-512.
        """
        keys = {"g": str(self.keyint), "keyint_min": str(self.keyint), "sc_threshold": "0", "bf": "0", "mbtree": "0"}
        return {"crf": str(self.crf), "preset": "veryfast", **keys}


@dataclass(frozen=True)
class FrameCopy(CopyKind):
    """Each frame as a JPEG image at the size that training crops, in QuickTime (Motion JPEG), at its original time.

    The container keeps the byte offset of every image; see `dsn_lightning.video.motion_jpeg.MotionJpeg`.
    """

    size: tuple[int, int] = (128, 171)  # (height, width) that frames are scaled to: backbone.frame_size
    resize: Resize = "squash"  # how frames of another aspect ratio are: dataset.reading.resize
    quality: int = 90  # of JPEG, 1 to 100
    folder: ClassVar[str] = "jpeg"
    suffix: ClassVar[str] = ".mov"
    container: ClassVar[str] = "mov"
    codec: ClassVar[str] = "mjpeg"
    pixels: ClassVar[str] = "yuvj420p"

    def frame_size(self, info: VideoInfo) -> tuple[int, int]:
        """Return a copy's (height, width), to which `Crop.scaled_size` scales the video."""
        return scaled_size(info.height, info.width, self.size, self.resize)

    def options(self) -> dict[str, str]:
        """Return no options: libjpeg-turbo encodes the frames, not FFmpeg."""
        return {}


@dataclass(frozen=True)
class FlowCopy(CopyKind):
    """Optical flow (`flow_frames`), lossless FFV1 in Matroska; each frame is a key frame, stamped in milliseconds."""

    size: tuple[int, int] = (128, 171)  # (height, width) that frames are scaled to first
    bound: float = 20.0  # displacement in pixels per frame at which the flow is clipped
    folder: ClassVar[str] = "flow"
    suffix: ClassVar[str] = ".mkv"
    container: ClassVar[str] = "matroska"
    codec: ClassVar[str] = "ffv1"
    version: ClassVar[int] = 2
    pixels: ClassVar[str] = "bgr0"  # FFV1's 8-bit RGB

    def frame_size(self, info: VideoInfo) -> tuple[int, int]:
        """Return a copy's (height, width), as in the settings."""
        return self.size

    def pictures(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Return the flow of the frames."""
        return flow_frames(frames, bound=self.bound)

    def options(self) -> dict[str, str]:
        """Return FFV1's options."""
        return {"level": "3", "slices": "1", "coder": "1", "context": "0", "g": "1"}

    def stamps(self, info: VideoInfo) -> tuple[NDArray[np.int64], Fraction]:
        """Return the time stamps of the frames in milliseconds, at least one apart."""
        stamps, unit = super().stamps(info)
        rounded = np.rint(stamps * float(unit * 1000)).astype(np.int64)
        index = np.arange(len(rounded))
        return np.maximum.accumulate(rounded - index) + index, Fraction(1, 1000)


def content_hash(info: VideoInfo) -> str:
    """Return a hash of a video's content: its stream, and how it is displayed."""
    content = (info.digest, info.num_frames, info.width, info.height, info.stamps, info.time_base)
    return hashlib.blake2b(repr(content).encode(), digest_size=16).hexdigest()


def frame_rate(info: VideoInfo) -> Fraction:
    """Return frames per second as a fraction with a small denominator, such as 30000/1001."""
    return max(Fraction(1, 1001), Fraction(info.fps).limit_denominator(1001))


KINDS: dict[str, type[CopyKind]] = {"transcode": SmallCopy, "frames": FrameCopy, "flow": FlowCopy}
"""Step of dsn-prepare -> the kind of copies that it makes."""
