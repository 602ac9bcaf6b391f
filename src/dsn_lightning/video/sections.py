"""Which frames make up which clip: pure integer functions of a video's length.

"Given a video V, we first divide the video into M sections of equal duration without overlap and then uniformly sample
N short clips in section S^m" (Sec. III-A). What is divided, the paper does not say; `Placement` names two readings.

``starts``, the default, divides the frames at which a clip can start, 0 to L - T * stride: S of them, where start s
takes up [s, s + 1) of a line of length S. ``frames`` divides the L frames of the video, where the clip that starts at s
takes up [s, s + T * stride). Each section is a half-open part of rational length, cut into N equal sub-spans with one
clip each, and a clip belongs to the sub-span that contains its middle::

    |<------------ line of S starts or L frames, M = 2 sections ------------->|
    |             section 0              |              section 1             |
    |   sub 0   |   sub 1    |   sub 2   |   sub 0    |   sub 1   |   sub 2   |   N = 3
          ^           ^            ^           ^            ^           ^         clips in testing: centred

With ``starts`` a training clip is drawn uniformly from the starts that belong to its sub-span, so all candidates differ
if S >= M * N. In a shorter video, sub-spans without a start of their own take the start that contains their centre;
the S starts are then shared out as evenly as possible.

With ``frames`` a clip is centred on a point of its sub-span and shifted inwards where it would leave the video. In
short videos many clips are therefore the first or the last one.

A video shorter than a clip has one possible start, 0, and repeats its last frame (see `clip_frames`).
"""

from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

Placement = Literal["starts", "frames"]
"""What is divided into sections: the possible starts of a clip, or the frames of the video."""

_JITTER_STEPS = 1 << 20  # resolution of a jittered position in its sub-span; keeps the arithmetic in integers


def num_possible_starts(num_frames: int, clip_span: int) -> int:
    """Return S, the number of frames at which a clip can start: at least 1.

    >>> num_possible_starts(60, 32), num_possible_starts(20, 32)
    (29, 1)
    """
    return max(1, num_frames - clip_span + 1)


def section_of(start_frame: int, *, num_frames: int, num_sections: int, clip_span: int, placement: Placement) -> int:
    """Return the section that contains the middle of a clip.

    >>> section_of(92, num_frames=100, num_sections=4, clip_span=8, placement="starts")
    3
    """
    length, width = _line(num_frames, clip_span, placement)
    middle = Fraction(2 * start_frame + width, 2)
    return min(num_sections - 1, max(0, int(middle * num_sections / length)))


def section_clip_starts(
    num_frames: int,
    *,
    num_sections: int,
    clips_per_section: int,
    clip_span: int,
    placement: Placement,
    rng: np.random.Generator | None = None,
) -> IntArray:
    """Return the first frame of each clip, (M, N), ascending.

    Args:
        num_frames: L, length of the video, >= 1.
        num_sections: M, >= 1.
        clips_per_section: N, >= 1.
        clip_span: T * stride, frames that a clip covers.
        placement: what is divided into sections.
        rng: draws each clip uniformly from its sub-span; None centres it.

    >>> section_clip_starts(24, num_sections=1, clips_per_section=3, clip_span=8, placement="starts")
    array([[ 2,  8, 14]])
    >>> section_clip_starts(24, num_sections=1, clips_per_section=3, clip_span=8, placement="frames")
    array([[ 0,  8, 16]])
    """
    num_spans = num_sections * clips_per_section
    length, width = _line(num_frames, clip_span, placement)
    inside = np.full(num_spans, _JITTER_STEPS // 2, dtype=np.int64)  # the centres of the sub-spans
    if rng is not None and placement == "frames":
        inside = rng.integers(_JITTER_STEPS, size=num_spans, dtype=np.int64)
    # round(middle - width / 2) with middle = (k + inside / STEPS) * length / spans, halves rounded up
    denominator = 2 * num_spans * _JITTER_STEPS
    position = np.arange(num_spans, dtype=np.int64) * _JITTER_STEPS + inside
    numerator = 2 * position * length - width * num_spans * _JITTER_STEPS
    starts = ((2 * numerator + denominator) // (2 * denominator)).clip(0, max(0, length - width))
    if rng is not None and placement == "starts":
        edges = _first_starts(num_spans, length)
        own = np.diff(edges) > 0
        starts = rng.integers(np.where(own, edges[:-1], starts), np.where(own, edges[1:], starts + 1))
    return starts.reshape(num_sections, clips_per_section)


def uniform_clip_starts(num_frames: int, *, num_clips: int, clip_span: int, placement: Placement) -> IntArray:
    """Return the first frames of equally spaced clips over the whole video, (num_clips,).

    >>> uniform_clip_starts(100, num_clips=2, clip_span=10, placement="starts")
    array([22, 68])
    """
    return section_clip_starts(
        num_frames, num_sections=num_clips, clips_per_section=1, clip_span=clip_span, placement=placement
    )[:, 0]


def random_clip_starts(num_frames: int, *, num_clips: int, clip_span: int, rng: np.random.Generator) -> IntArray:
    """Return the first frames of clips drawn from the whole video with replacement, (num_clips,).

    All possible starts are equally probable: the distribution of a training clip with M = N = 1 and ``starts``.
    """
    return rng.integers(num_possible_starts(num_frames, clip_span), size=num_clips, dtype=np.int64)


def clip_frames(starts: IntArray, *, num_frames: int, frames_per_clip: int, frame_stride: int) -> IntArray:
    """Return the frame indices of clips, (..., T); after the end of the video its last frame is repeated.

    >>> clip_frames(np.array([0]), num_frames=3, frames_per_clip=5, frame_stride=1)
    array([[0, 1, 2, 2, 2]])
    """
    steps = frame_stride * np.arange(frames_per_clip, dtype=np.int64)
    return np.minimum(starts[..., None] + steps, num_frames - 1)


def _line(num_frames: int, clip_span: int, placement: Placement) -> tuple[int, int]:
    """Return the length of the line that is divided into sections, and how much of it a clip takes up."""
    return (num_frames, clip_span) if placement == "frames" else (num_possible_starts(num_frames, clip_span), 1)


def _first_starts(num_spans: int, num_starts: int) -> IntArray:
    """Return the first start of each sub-span, and S: start s belongs to sub-span k if k <= (s + 1/2) * K / S < k + 1.

    >>> _first_starts(2, 5)
    array([0, 2, 5])
    """
    return -((num_spans - 2 * num_starts * np.arange(num_spans + 1, dtype=np.int64)) // (2 * num_spans))
