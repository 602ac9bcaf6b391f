"""Crops of uint8 clips; the same crop for every frame of a clip.

Frames are scaled while they are decoded; crops are windows of the scaled frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dsn_lightning.errors import UsageError
from dsn_lightning.video.modality import is_flow, mirror_flow
from dsn_lightning.video.resize import Resize, scaled_size


class Cut(NamedTuple):
    """A square window of a clip's frames, in pixels; it is scaled to the crop's size afterwards."""

    top: int
    left: int
    side: int
    mirrored: bool = False


@dataclass(frozen=True)
class Crop:
    """Cut clips to the network's input size.

    Testing takes the centre, or three windows. Training takes a window whose side is ``crop_size`` times one of
    ``scales`` (Sec. V-B's "randomly cropping with scale jittering"), and scales it back to ``crop_size``. TSN's windows
    (`GroupMultiScaleCrop`) have the same sides, but are in 13 places, and height and width may be one scale apart.
    Flipping a flow clip negates its horizontal motion; scaling does not change displacements, as in TSN.

    Attributes:
        frame_size: (height, width) of the frames before cropping.
        crop_size: side of the square that the networks see, in pixels.
        scales: sides of the training window, as multiples of ``crop_size``.
        flip: probability of a left-right flip in training, [0, 1].
        corners: whether the training window is in one of the four corners or the centre, or anywhere.
        windows: windows of a testing clip. 3 are placed as in SlowFast's tests (`uniform_crop`): at both ends and in
            the middle of the frame's longer side, centred along the shorter one. (mmaction2's `ThreeCrop` places them
            the same way and expects frames whose shorter side is ``crop_size``.) 1 is the middle one.
        resize: how frames of other aspect ratios get this size; see `dsn_lightning.video.resize`.

    Raises:
        ValueError: ``windows`` is neither 1 nor 3.
        UsageError: a window does not fit in the frames.
    """

    frame_size: tuple[int, int]
    crop_size: int
    scales: Sequence[float] = (1.0,)
    flip: float = 0.0
    corners: bool = False
    windows: Literal[1, 3] = 1
    resize: Resize = "squash"

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame_size", tuple(self.frame_size))
        largest = round(max(self.scales) * self.crop_size)
        if largest > min(self.frame_size):
            size = list(self.frame_size)
            raise UsageError(
                f"backbone.crop_size={self.crop_size}: a window of {largest} pixels does not fit in {size}"
            )
        if self.windows not in (1, 3):
            raise ValueError(f"windows={self.windows}: must be 1 or 3")
        if self.windows == 3 and max(self.frame_size) < self.crop_size + 2:
            raise UsageError(
                f"test.crops=3: three windows of {self.crop_size} pixels (backbone.crop_size) do not fit in frames of "
                f"{self.frame_size} (backbone.frame_size); use test.crops=1"
            )

    def scaled_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) to which frames of a video are scaled before they are given to this crop."""
        return scaled_size(height, width, self.frame_size, self.resize)

    def __call__(self, frames: NDArray[np.uint8], rng: np.random.Generator | None) -> Tensor:
        """Return a clip, uint8 (C, T, crop_size, crop_size); with three windows and no rng (3, C, T, ...).

        Args:
            frames: (T, H, W, C); two channels are flow.
            rng: draws the window and the flip; None takes the testing windows.
        """
        frames = self.bordered(frames)
        if rng is not None:
            return self._clip(frames, self.draw(frames.shape[1], frames.shape[2], rng))
        clips = [self._clip(frames, Cut(*place, self.crop_size)) for place in self._positions(*frames.shape[1:3])]
        return clips[0] if self.windows == 1 else torch.stack(clips)

    def bordered(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return frames (F, H, W, C) with the black bars of ``letterbox``; the same array without."""
        if self.resize != "letterbox":
            return frames
        spare = [whole - side for whole, side in zip(self.frame_size, frames.shape[1:3], strict=True)]
        return np.pad(frames, [(0, 0), *((extra // 2, extra - extra // 2) for extra in spare), (0, 0)])

    @staticmethod
    def mirror(pixels: Tensor) -> Tensor:
        """Return mirrored frames (F, C, H, W); horizontal displacements of flow (C = 2) are negated."""
        mirrored = pixels.flip(-1)
        return torch.stack([255 - mirrored[:, 0], mirrored[:, 1]], 1) if pixels.shape[1] == 2 else mirrored

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Cut:
        """Draw a training window of frames that have this size, bars included."""
        side = round(self.crop_size * self.scales[int(rng.integers(len(self.scales)))])
        if self.corners:
            down, right = ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1))[int(rng.integers(5))]
            top, left = (height - side) * down // 2, (width - side) * right // 2
        else:
            top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        return Cut(top, left, side, bool(rng.random() < self.flip))

    def _positions(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return (top, left) of the testing windows."""
        down, right = height - self.crop_size, width - self.crop_size
        if self.windows == 1:
            return [(down // 2, right // 2)]
        if height > width:
            return [(top, right // 2) for top in (0, down // 2, down)]
        return [(down // 2, left) for left in (0, right // 2, right)]

    def _clip(self, frames: NDArray[np.uint8], cut: Cut) -> Tensor:
        window, mirrored = frames[:, cut.top : cut.top + cut.side, cut.left : cut.left + cut.side], cut.mirrored
        if mirrored and is_flow(window):
            window, mirrored = mirror_flow(window), False
        if not window.flags.writeable or min(window.strides) < 0:  # PyTorch takes neither
            window = window.copy()
        clip = scaled(torch.from_numpy(window).permute(0, 3, 1, 2), self.crop_size)  # (T, C, H, W)
        if mirrored:
            clip = clip.flip(-1)
        return clip.transpose(0, 1).contiguous()


def scaled(pixels: Tensor, side: int) -> Tensor:
    """Return square frames, uint8 (F, C, S, S), at another side: bilinear and antialiased, (F, C, side, side).

    On other devices than the CPU, PyTorch scales float numbers only; they are rounded, so that some pixels differ by 1.
    """
    if pixels.shape[-1] == side:
        return pixels
    if pixels.device.type != "cpu":
        return _scaled_as_float(pixels, side)
    if pixels.shape[1] == 3:  # PyTorch scales interleaved colours of 8 bits twice as fast as separate ones
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    return F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)


def _scaled_as_float(pixels: Tensor, side: int) -> Tensor:
    numbers = F.interpolate(pixels.float(), (side, side), mode="bilinear", antialias=True)
    return numbers.round_().clamp_(0, 255).to(torch.uint8)
