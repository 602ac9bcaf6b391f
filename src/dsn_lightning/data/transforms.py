"""Crops of uint8 clips; the same crop for every frame of a clip.

Frames are scaled while they are decoded (`decoding.read_frames`); here a window is cut out of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Crop:
    """Cut clips to the network's input size.

    Testing takes the centre; training a window at a random place, whose side is ``crop_size`` times one of ``scales``
    (Sec. V-B's "randomly cropping with scale jittering"), scaled back to ``crop_size``.

    Attributes:
        frame_size: (height, width) that frames are scaled to before cropping.
        crop_size: side of the square that the networks see, in pixels.
        scales: sides of the training window, as multiples of ``crop_size``.
        flip: probability of a left-right flip in training, [0, 1].
    """

    frame_size: tuple[int, int]
    crop_size: int
    scales: Sequence[float] = (1.0,)
    flip: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame_size", tuple(self.frame_size))
        largest = round(max(self.scales) * self.crop_size)
        if largest > min(self.frame_size):
            raise ValueError(f"a window of {largest} pixels does not fit into frames of {self.frame_size}")

    def __call__(self, frames: NDArray[np.uint8], rng: np.random.Generator | None) -> Tensor:
        """Return a clip, uint8 (C, T, crop_size, crop_size).

        Args:
            frames: (T, H, W, C).
            rng: draws window and flip; None takes the centre.
        """
        height, width = frames.shape[1:3]
        if rng is None:
            side, flip = self.crop_size, False
            top, left = (height - side) // 2, (width - side) // 2
        else:
            side = round(self.crop_size * self.scales[int(rng.integers(len(self.scales)))])
            top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
            flip = bool(rng.random() < self.flip)
        window = frames[:, top : top + side, left : left + side]
        if flip:
            window = window[:, :, ::-1]
        clip = torch.from_numpy(np.ascontiguousarray(window.transpose(3, 0, 1, 2)))
        if side == self.crop_size:
            return clip
        size = (self.crop_size, self.crop_size)
        resized = F.interpolate(clip.transpose(0, 1), size, mode="bilinear", antialias=True)  # (T, C, H, W)
        return resized.transpose(0, 1).contiguous()
