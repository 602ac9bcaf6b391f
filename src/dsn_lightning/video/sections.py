"""Which frames make up which clip: pure integer functions of a video's length.

A video of L frames is cut into M sections of L/M frames and each section into N sub-spans of L/(M*N) frames, all
half-open and of rational length. Each sub-span has one clip, centred on the span's centre (testing) or on a point drawn
uniformly from it (training)::

    |<------------------ L frames, M = 2 sections ------------------>|
    |           section 0            |           section 1           |
    |  sub 0   |  sub 1   |  sub 2   |  sub 0   |  sub 1   |  sub 2  |   N = 3
       [clip]     [clip]     [clip]     [clip]     [clip]     [clip]      T * stride frames each

Clips may overlap in short videos and are shifted inwards at both ends, so every clip stays inside the video. A video
shorter than a clip repeats its last frame (see `clip_frames`).
"""

import itertools
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

_JITTER_STEPS = 1 << 20  # resolution of a jittered position in its sub-span; keeps the arithmetic in integers


def section_bounds(num_frames: int, num_sections: int) -> list[tuple[Fraction, Fraction]]:
    """Return the half-open frame ranges ``[start, end)`` of the sections.

    >>> section_bounds(10, 4)[1]
    (Fraction(5, 2), Fraction(5, 1))
    """
    edges = [Fraction(num_frames * m, num_sections) for m in range(num_sections + 1)]
    return list(itertools.pairwise(edges))


def section_of(start_frame: int, *, num_frames: int, num_sections: int, clip_span: int) -> int:
    """Return the section that contains the centre of a clip.

    >>> section_of(92, num_frames=100, num_sections=4, clip_span=8)
    3
    """
    centre = Fraction(2 * start_frame + clip_span, 2)
    return min(num_sections - 1, max(0, int(centre * num_sections / num_frames)))


def section_clip_starts(
    num_frames: int,
    *,
    num_sections: int,
    clips_per_section: int,
    clip_span: int,
    rng: np.random.Generator | None = None,
) -> IntArray:
    """Return the first frame of each clip, (M, N).

    Args:
        num_frames: L, length of the video, >= 1.
        num_sections: M, >= 1.
        clips_per_section: N, >= 1.
        clip_span: T * stride, frames that a clip covers.
        rng: draws each clip's centre uniformly from its sub-span; None centres it.

    >>> section_clip_starts(24, num_sections=1, clips_per_section=3, clip_span=8)
    array([[ 0,  8, 16]])
    """
    num_spans = num_sections * clips_per_section
    if rng is None:
        inside = np.full(num_spans, _JITTER_STEPS // 2, dtype=np.int64)
    else:
        inside = rng.integers(_JITTER_STEPS, size=num_spans, dtype=np.int64)
    # round(centre - clip_span / 2) with centre = (k + inside / STEPS) * L / spans, halves rounded up
    denominator = 2 * num_spans * _JITTER_STEPS
    position = np.arange(num_spans, dtype=np.int64) * _JITTER_STEPS + inside
    numerator = 2 * position * num_frames - clip_span * num_spans * _JITTER_STEPS
    starts = (2 * numerator + denominator) // (2 * denominator)
    return starts.clip(0, max(0, num_frames - clip_span)).reshape(num_sections, clips_per_section)


def uniform_clip_starts(num_frames: int, *, num_clips: int, clip_span: int) -> IntArray:
    """Return the first frames of equally spaced clips over the whole video, (num_clips,).

    >>> uniform_clip_starts(100, num_clips=2, clip_span=10)
    array([20, 70])
    """
    grid = section_clip_starts(num_frames, num_sections=num_clips, clips_per_section=1, clip_span=clip_span)
    return grid[:, 0]


def random_clip_starts(num_frames: int, *, num_clips: int, clip_span: int, rng: np.random.Generator) -> IntArray:
    """Return the first frames of clips drawn from the whole video with replacement, (num_clips,)."""
    return rng.integers(max(0, num_frames - clip_span) + 1, size=num_clips, dtype=np.int64)


def clip_frames(starts: IntArray, *, num_frames: int, frames_per_clip: int, frame_stride: int) -> IntArray:
    """Return the frame indices of clips, (..., T); after the end of the video its last frame is repeated.

    >>> clip_frames(np.array([0]), num_frames=3, frames_per_clip=5, frame_stride=1)
    array([[0, 1, 2, 2, 2]])
    """
    steps = frame_stride * np.arange(frames_per_clip, dtype=np.int64)
    return np.minimum(starts[..., None] + steps, num_frames - 1)
