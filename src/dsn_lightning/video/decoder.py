"""What a decoder of video files offers: the protocols that `PyAV`, `TorchCodec` and `ImageFolder` implement."""

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
    """Tells what a file holds. Methods raise `VideoError` for a file that cannot be used."""

    def find(self, path: Path) -> Path:
        """Return what is read for a record's path."""

    def mark(self, path: Path) -> list[Any]:
        """Return what tells, as plain values, whether what `probe` has found still holds; OSError where it is gone."""

    def probe(self, path: Path) -> VideoInfo:
        """Report what a file holds, from decoding it to its end if need be."""


class Decoder(Prober, Protocol):
    """Reads video files as well."""

    def read(self, path: Path, indices: Indices, size: tuple[int, int], info: VideoInfo | None = None) -> Frames:
        """Return the frames ``indices`` (strictly increasing), uint8 (F, H, W, 3).

        Args:
            path: the video.
            indices: what to read; 0 is the first displayed frame.
            size: (height, width) to scale to.
            info: what `probe` found; with it a reader may begin in the middle.
        """

    def frames(self, path: Path, size: tuple[int, int] | None = None) -> Iterator[Frames]:
        """Yield all frames in the order of display, upright, uint8 (H, W, 3), at their own size or scaled."""


def check_deadline(seconds: object) -> None:
    """Refuse a deadline that is none.

    Raises:
        UsageError: names it.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise UsageError(f"dataset.reading.decoder.deadline={seconds}: must be seconds; .inf waits for ever")
