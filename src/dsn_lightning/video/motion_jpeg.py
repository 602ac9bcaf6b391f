"""Frames as JPEG images in a QuickTime file (Motion JPEG): what ``dsn-prepare steps=[frames]`` writes.

The container's index says where each image is, so any frames are read by their bytes alone, without those before them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg

from dsn_lightning.video.decoder import Frames, Indices
from dsn_lightning.video.file_part import FilePart
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.resize import rescaled
from dsn_lightning.video.video_info import VideoError, VideoInfo, check_unchanged


@dataclass(frozen=True)
class MotionJpeg(PyAV):
    """Reads frames of Motion JPEG in QuickTime or MP4 with libjpeg-turbo; all else is as in `PyAV`."""

    def read(self, path: Path, indices: Indices, size: tuple[int, int], info: VideoInfo | None = None) -> Frames:
        """Return the frames ``indices``, uint8 (F, H, W, 3), scaled where they are stored larger; see `Decoder.read`.

        Raises:
            VideoError: an image is damaged, or the file ends before the last index.
        """
        check_unchanged(path, info)
        with self._open(path, info) as (_, stream):
            places, stored = stream.index_entries, (stream.height, stream.width)
            last = int(indices[-1]) if len(indices) else -1
            if last >= len(places):
                raise VideoError(path, f"ends before frame {last}; has the file changed since it was indexed?")
            entries = [(int(index), places[int(index)]) for index in indices]
            wanted = [(index, entry.pos, entry.size) for index, entry in entries]  # entries end with the container
        out = np.empty((len(wanted), *stored, 3), np.uint8)
        try:
            part = FilePart.whole(path) if info is None or info.part is None else info.part
            with part.open() as images:
                for room, (index, start, length) in zip(out, wanted, strict=True):
                    _decode(path, index, images.bytes_at(start, length), room)
        except OSError as error:
            raise VideoError(path, error.strerror or str(error), transient=True) from error
        return rescaled(out, size)


def _decode(path: Path, index: int, image: bytes, room: Frames) -> None:
    """Decode the image of frame ``index`` into ``room``, uint8 (H, W, 3), or raise `VideoError`."""
    try:
        height, width, _ = simplejpeg.decode_jpeg(image, "RGB", buffer=room).shape
    except ValueError as error:
        raise VideoError(path, f"frame {index} is damaged ({error})") from error
    if (height, width) != room.shape[:2]:
        sizes = f"expected {room.shape[1]}x{room.shape[0]} pixels, got {width}x{height}"
        raise VideoError(path, f"frame {index}: {sizes}")
