"""The size to which frames of any aspect ratio are scaled before they are cropped."""

from typing import Literal

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
