"""Small videos, and the content of folders."""

from pathlib import Path

import cv2
import numpy as np


def moving(num_frames: int, height: int = 48, width: int = 64, *, seed: int = 0) -> np.ndarray:
    """A texture that travels two pixels to the right and one down with each frame, uint8 (F, H, W, 3)."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    texture = cv2.GaussianBlur(noise, (0, 0), 2, borderType=cv2.BORDER_REFLECT)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    return np.stack([np.roll(texture, (i, 2 * i), (0, 1)) for i in range(num_frames)])


def tree(folder: Path) -> dict[str, bytes]:
    """The content of all files below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
