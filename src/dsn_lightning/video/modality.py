"""What a frame consists of: RGB, or optical flow, which has two channels; flow turned around, normalised, looked at.

A flow frame holds displacements to the right and downwards, clipped and quantised to 8 bits.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Modality = Literal["rgb", "flow"]

CHANNELS: dict[str, int] = {"rgb": 3, "flow": 2}
"""Channels of a frame of each modality; nothing else is a modality."""

FLOW_MEAN = (0.5, 0.5)
"""What flow clips are normalised with, on pixel values in [0, 1]: no motion."""

FLOW_STD = (0.226, 0.226)
"""Likewise, where a configuration has no ``backbone.flow_std``: ImageNet's deviation averaged over RGB, as TSN has it.

Farneback's flow is quieter: 0.03 in both directions, on 922 clips of HMDB51 with a bound of 20 pixels.
"""

FLOW_LEGEND = "flow: red moves right, green down, cyan left, violet up; white is still"
"""What the colours of `flow_colours` mean."""

_STEADY = 8.0  # of 255 steps: a clip that moves no faster is drawn as nearly still


def mirror_flow(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return flow frames (..., W, 2) as a mirror shows them: turned left to right, displacements to the right too.

    >>> mirror_flow(np.array([[[255, 7], [128, 9]]], np.uint8)).tolist()
    [[[127, 9], [0, 7]]]
    """
    mirrored = frames[..., ::-1, :].copy()
    mirrored[..., 0] = 255 - mirrored[..., 0]
    return mirrored


def flow_colours(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture of flow frames (..., 2) as RGB (..., 3), all on one scale.

    White is still; hue is the direction, as `FLOW_LEGEND` says, and the deeper the colour the faster, up to the 99th
    percentile of all these pixels' speeds.

    >>> flow_colours(np.array([[128, 128], [255, 128], [0, 128]], np.uint8)).tolist()
    [[255, 255, 254], [255, 1, 0], [0, 255, 254]]
    """
    u, v = np.moveaxis(frames.astype(np.float64) - 127.5, -1, 0)
    speed = np.hypot(u, v)
    depth = (speed / max(_STEADY, float(np.quantile(speed, 0.99)))).clip(max=1)[..., None]
    sixths = 3 * np.arctan2(v, u)[..., None] / np.pi  # of the circle of hues, which starts at red
    hue = (np.abs((sixths + np.array([0, 4, 2])) % 6 - 3) - 1).clip(0, 1)
    return np.asarray(np.round(255 * (1 - depth * (1 - hue))), np.uint8)


def is_flow(frames: NDArray[np.uint8]) -> bool:
    """Whether frames (..., C) are flow."""
    return frames.shape[-1] == CHANNELS["flow"]


def as_pictures(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return frames of either modality (..., C) as something to look at, RGB (..., 3)."""
    return flow_colours(frames) if is_flow(frames) else frames
