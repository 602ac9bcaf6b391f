"""Optical flow as frames of a video: Farneback's, clipped, quantised to 8 bits.

A flow frame is a picture whose red channel is the motion to the right and whose green channel is the motion downwards,
so that a video decoder also reads flow. It needs OpenCV (the optional dependency ``flow``).
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from dsn_lightning.current_folder import search_no_library_here
from dsn_lightning.errors import UsageError

BLUE = 128  # the constant value of the third channel
# the values of OpenCV's tutorial on dense optical flow; the paper gives none
_FARNEBACK = {"pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3, "poly_n": 5, "poly_sigma": 1.2, "flags": 0}


def check_opencv() -> None:
    """Raise a `UsageError` with the remedy if OpenCV is not installed."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        remedy = "run pip install 'dsn-lightning[flow]'"
        raise UsageError(f"steps=[flow]: needs OpenCV (opencv-python-headless); {remedy}") from error
    search_no_library_here()  # OpenCV has changed where they look


def quantise(flow: NDArray[np.floating], *, bound: float) -> NDArray[np.uint8]:
    """Clip ``flow`` (pixels) to [-bound, bound] and map it to 0..255, to the nearest step; no motion becomes 128.

    >>> quantise(np.array([-99, -20, 0, 0.1, 20]), bound=20).tolist()
    [0, 0, 128, 128, 255]
    """
    steps = (np.clip(flow.astype(np.float64), -bound, bound) + bound) / (2 * bound) * 255
    return np.rint(steps).astype(np.uint8)


def flow_frames(frames: Iterable[NDArray[np.uint8]], *, bound: float) -> Iterator[NDArray[np.uint8]]:
    """Yield one flow frame, uint8 (H, W, 3), for each RGB frame; number i is the motion from frame i to frame i + 1.

    The last one repeats the one before; a single frame gives no motion. Red is x to the right and green is y downwards,
    clipped at ``bound`` pixels per frame, see `quantise`; blue is `BLUE`.
    """
    import cv2

    cv2.setNumThreads(1)  # dsn-prepare processes several videos in parallel
    before = picture = None
    for frame in frames:
        grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        if before is not None:
            start = np.zeros((*grey.shape, 2), np.float32)
            flow = cv2.calcOpticalFlowFarneback(before, grey, start, **_FARNEBACK)  # type: ignore[call-overload]
            picture = _picture(quantise(np.asarray(flow), bound=bound))
            yield picture
        before = grey
    if before is not None:
        yield picture if picture is not None else _picture(quantise(np.zeros((*before.shape, 2)), bound=bound))


def _picture(steps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([steps, np.full((*steps.shape[:2], 1), BLUE, np.uint8)], axis=2)
