"""The size to which frames of any aspect ratio are scaled before they are cropped; scaling of frames in memory."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Resize = Literal["squash", "short_side", "letterbox"]
"""``squash`` scales to the wanted size, whatever the aspect ratio, as the paper does ("128x171"). ``short_side`` keeps
the aspect ratio: the shorter side gets the length of the shorter wanted one. ``letterbox`` keeps it as well and fits
the whole frame into the wanted size; black bars fill the rest."""


def scaled_size(height: int, width: int, wanted: tuple[int, int], resize: Resize) -> tuple[int, int]:
    """Return the (height, width) to which frames of a size are scaled, in pixels.

    >>> [scaled_size(1920, 1080, (128, 171), resize) for resize in ("squash", "short_side", "letterbox")]
    [(128, 171), (227, 128), (128, 72)]
    """
    if resize == "squash":
        return wanted
    if resize == "letterbox":
        scale = min(wanted[0] / height, wanted[1] / width)
        return max(1, round(height * scale)), max(1, round(width * scale))
    short = min(wanted)  # rounded as torchvision's `Resize`
    return (short, short * width // height) if height <= width else (short * height // width, short)


def rescaled(frames: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return frames (F, H, W, C) at a size (height, width); the same array if they have it.

    The filter is torch's antialiased bilinear one. PyTorch is imported only when it is needed: commands that only look
    at videos start quickly.
    """
    if frames.shape[1:3] == tuple(size):
        return frames
    import torch
    import torch.nn.functional as F

    planes = torch.from_numpy(frames).permute(0, 3, 1, 2)
    scaled = F.interpolate(planes, tuple(size), mode="bilinear", antialias=True)
    return np.asarray(scaled.permute(0, 2, 3, 1))
