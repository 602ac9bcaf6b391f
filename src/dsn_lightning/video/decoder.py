"""The contract of a decoder of video files: the protocols that `PyAV`, `TorchCodec` and `ImageFolder` follow."""

import errno
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.errors import UsageError
from dsn_lightning.video.video_info import VideoInfo

Frames = NDArray[np.uint8]

Indices = Sequence[int] | NDArray[np.int64]


class Prober(Protocol):
    """Finds out what a file contains. Methods raise `VideoError` for a file that cannot be used."""

    def fingerprint(self, path: Path) -> list[Any]:
        """Return plain values that change whenever `probe` has to be called again; OSError if the file is missing."""

    def probe(self, path: Path) -> VideoInfo:
        """Return what a file contains, by decoding it to its end if necessary."""


class Decoder(Prober, Protocol):
    """Also reads the frames of video files."""

    def find(self, path: Path) -> Path:
        """Return the file or folder that is read for a record's path."""

    @property
    def deadline(self) -> float:
        """Seconds after which a call gives up; infinite if it never does."""

    def read(self, path: Path, indices: Indices, size: tuple[int, int], info: VideoInfo | None = None) -> Frames:
        """Return the frames ``indices`` (strictly increasing), uint8 (F, H, W, 3).

        Args:
            path: the video.
            indices: frames to read; 0 is the first displayed frame.
            size: (height, width) to scale to.
            info: the result of `probe`, with which a decoder can seek; None reads from the start.
        """

    def frames(self, path: Path, size: tuple[int, int] | None = None) -> Iterator[Frames]:
        """Yield all frames in display order, upright, uint8 (H, W, 3), at their size or scaled."""


def check_decoder(decoder: object, key: str) -> None:
    """Check that the object that ``key`` of the configuration describes follows `Decoder`; reads no file.

    Raises:
        UsageError: lists what is missing.
    """
    names, absent = ("find", "fingerprint", "probe", "read", "frames", "deadline"), object()
    if missing := [name for name in names if inspect.getattr_static(decoder, name, absent) is absent]:
        kind = type(decoder).__qualname__
        raise UsageError(f"{key}: {kind} does not follow the contract of a decoder; missing: {', '.join(missing)}")


def is_present(path: Path, decoder: Decoder) -> bool:
    """Whether the file or folder of a record exists; a path that is too long for any file is missing."""
    try:
        return path.exists() or decoder.find(path).exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
