"""Modalities of a frame: RGB, or optical flow with two channels; how flow is mirrored, normalised and displayed.

A flow frame contains displacements to the right and downwards, clipped and quantised to 8 bits.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Modality = Literal["rgb", "flow"]

CHANNELS: dict[str, int] = {"rgb": 3, "flow": 2}
"""Channels of a frame of each modality; there are no other modalities."""

FLOW_MEAN = (0.5, 0.5)
"""Mean that flow clips are normalised with, on pixel values in [0, 1]: no motion."""

FLOW_STD = (0.226, 0.226)
"""Standard deviation that flow clips are normalised with by default: ImageNet's averaged over RGB, as in TSN.

Farneback's flow varies less: 0.03 in both directions, on 922 clips of HMDB51 with a bound of 20 pixels.
"""

FLOW_LEGEND = "flow: red moves right, green down, cyan left, violet up; white is still"
"""What the colours of `flow_colours` mean."""

_STEADY = 8.0  # of 255 steps: a clip with slower motion is drawn as nearly still


def mirror_flow(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return mirrored flow frames (..., W, 2): flipped left to right, with horizontal displacements negated.

    >>> mirror_flow(np.array([[[255, 7], [128, 9]]], np.uint8)).tolist()
    [[[127, 9], [0, 7]]]
    """
    mirrored = frames[..., ::-1, :].copy()
    mirrored[..., 0] = 255 - mirrored[..., 0]
    return mirrored


def flow_colours(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return flow frames (..., 2) as RGB pictures (..., 3), all on one scale.

    White is still. The hue is the direction, see `FLOW_LEGEND`, and the saturation is the speed, up to the 99th
    percentile over all these pixels.

    >>> flow_colours(np.array([[128, 128], [255, 128], [0, 128]], np.uint8)).tolist()
    [[255, 255, 254], [255, 1, 0], [0, 255, 254]]
    """
    u, v = np.moveaxis(frames.astype(np.float64) - 127.5, -1, 0)
    speed = np.hypot(u, v)
    depth = (speed / max(_STEADY, float(np.quantile(speed, 0.99)))).clip(max=1)[..., None]
    sixths = 3 * np.arctan2(v, u)[..., None] / np.pi  # position on the circle of hues, which starts at red
    hue = (np.abs((sixths + np.array([0, 4, 2])) % 6 - 3) - 1).clip(0, 1)
    return np.asarray(np.round(255 * (1 - depth * (1 - hue))), np.uint8)


def is_flow(frames: NDArray[np.uint8]) -> bool:
    """Whether frames (..., C) are flow."""
    return frames.shape[-1] == CHANNELS["flow"]


def as_pictures(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return frames of either modality (..., C) as RGB pictures (..., 3)."""
    return flow_colours(frames) if is_flow(frames) else frames
