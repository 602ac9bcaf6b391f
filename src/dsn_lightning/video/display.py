"""How a decoded frame is displayed: turned and mirrored as its file says, in RGB, at one size."""

from typing import NamedTuple

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from dsn_lightning.video.decoder import Frames


class Orientation(NamedTuple):
    """How stored pixels become displayed ones: rows and columns exchanged first, then mirrored."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False


def orientation_of(frame: VideoFrame) -> Orientation:
    """Return the orientation in a frame's display matrix, rounded to quarter turns.

    The matrix places the stored pixel (x, y) at (a x + c y, b x + d y); see ISO/IEC 14496-12, 6.2.2. A matrix of zeros
    says nothing.
    """
    stored = SideDataContainer(frame)  # type: ignore[call-arg]  # `frame.side_data` would keep the frame
    matrix = next((bytes(data) for data in stored if data.type == Type.DISPLAYMATRIX), None)
    if matrix is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(matrix, "=i4")[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, c < 0, b < 0)
    return Orientation(False, a < 0, d < 0)


def displayed_size(frame: VideoFrame) -> tuple[int, int]:
    """Return a frame's displayed (height, width)."""
    return (frame.width, frame.height) if orientation_of(frame).transpose else (frame.height, frame.width)


def empty_frames(count: int, size: tuple[int, int]) -> Frames:
    """Return room for frames, uint8 (count, height, width, 3); each colour is contiguous, as in the networks' input."""
    return np.empty((count, 3, *size), np.uint8).transpose(0, 2, 3, 1)


class FrameConverter:
    """Converts decoded frames to displayed RGB frames of one size, (height, width).

    FFmpeg scales to separate colours in half the time that it takes for interleaved ones; without scaling, interleaved
    ones are quicker.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.height, self.width = size
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame, into: Frames | None = None) -> Frames:
        """Return the frame, uint8 (height, width, 3): the array ``into``, if there is one."""
        turned, mirror_x, mirror_y = orientation_of(frame)
        displayed = empty_frames(1, (self.height, self.width))[0] if into is None else into
        stored = displayed[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
        if turned:
            stored = stored.transpose(1, 0, 2)
        height, width = stored.shape[:2]
        if (frame.height, frame.width) == (height, width):
            stored[:] = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
            return displayed
        scaled = self._reformatter.reformat(
            frame, width=width, height=height, format="gbrp", interpolation="BILINEAR", threads=1
        )
        for colour, plane in zip((1, 2, 0), scaled.planes, strict=True):
            stored[..., colour] = np.frombuffer(memoryview(plane), np.uint8).reshape(height, -1)[:, :width]
        return displayed
