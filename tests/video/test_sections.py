"""Section and clip positions: pure integer functions of a video's length."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsn_lightning.stateless_random import stateless_rng
from dsn_lightning.video.sections import (
    clip_frames,
    random_clip_starts,
    section_bounds,
    section_clip_starts,
    section_of,
    uniform_clip_starts,
)

lengths, sections, clips, frames, strides = (
    st.integers(1, 5000),
    st.integers(1, 12),
    st.integers(1, 8),
    st.integers(1, 64),
    st.integers(1, 8),
)


@given(lengths, sections)
def test_sections_are_disjoint_and_cover_the_video(length, m):
    bounds = section_bounds(length, m)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == length
    assert all(left[1] == right[0] for left, right in itertools.pairwise(bounds))
    assert len({end - start for start, end in bounds}) == 1


@given(lengths, sections, clips, frames, strides, st.one_of(st.none(), st.integers(0, 99)))
def test_clips_stay_in_bounds_and_in_order(length, m, n, t, stride, seed):
    rng = None if seed is None else stateless_rng(seed)
    span = t * stride
    starts = section_clip_starts(length, num_sections=m, clips_per_section=n, clip_span=span, rng=rng)
    assert starts.shape == (m, n)
    assert (np.diff(starts.ravel()) >= 0).all()
    assert starts.min() >= 0
    assert starts.max() <= max(0, length - span)
    indices = clip_frames(starts, num_frames=length, frames_per_clip=t, frame_stride=stride)
    assert indices.shape == (m, n, t)
    assert indices.min() >= 0
    assert indices.max() < length


@given(lengths, sections, clips, frames, st.one_of(st.none(), st.integers(0, 99)))
def test_each_clip_lies_in_its_sub_span(length, m, n, t, seed):
    rng = None if seed is None else stateless_rng(seed)
    starts = section_clip_starts(length, num_sections=m, clips_per_section=n, clip_span=t, rng=rng).ravel()
    width = length / (m * n)
    for k, start in enumerate(starts):
        if 0 < start < length - t:  # not pushed inwards at an end
            centre = start + t / 2
            assert k * width - 0.5 - 1e-6 <= centre <= (k + 1) * width + 0.5 + 1e-6


def test_centred_positions_by_hand():
    # 100 frames, 2 x 2 sub-spans of 25: centres 12.5, 37.5, 62.5, 87.5; a clip of 10 starts 5 earlier, halves up
    starts = section_clip_starts(100, num_sections=2, clips_per_section=2, clip_span=10)
    assert starts.tolist() == [[8, 33], [58, 83]]


def test_short_video_repeats_its_last_frame():
    starts = section_clip_starts(3, num_sections=1, clips_per_section=2, clip_span=8)
    assert starts.tolist() == [[0, 0]]
    assert clip_frames(starts, num_frames=3, frames_per_clip=8, frame_stride=1)[0, 0].tolist() == [
        0,
        1,
        2,
        2,
        2,
        2,
        2,
        2,
    ]


def test_jitter_reaches_the_whole_sub_span():
    starts = [
        section_clip_starts(1000, num_sections=1, clips_per_section=2, clip_span=2, rng=stateless_rng(i))[0]
        for i in range(2000)
    ]
    first = np.array(starts)[:, 0]
    assert first.min() <= 3
    assert first.max() >= 496
    assert abs(first.mean() - 249) < 10


def test_uniform_is_the_grid_with_one_clip_per_section():
    assert uniform_clip_starts(100, num_clips=4, clip_span=10).tolist() == [8, 33, 58, 83]


@given(lengths, st.integers(1, 60), frames)
def test_random_clips_stay_in_bounds(length, count, span):
    starts = random_clip_starts(length, num_clips=count, clip_span=span, rng=stateless_rng(length))
    assert starts.min() >= 0
    assert starts.max() <= max(0, length - span)


@given(lengths, sections, clips, frames)
def test_section_of_a_clip_is_the_one_it_was_made_for(length, m, n, span):
    starts = section_clip_starts(length, num_sections=m, clips_per_section=n, clip_span=span)
    for section, row in enumerate(starts):
        for start in row:
            if 0 < start < length - span:
                assert abs(section_of(int(start), num_frames=length, num_sections=m, clip_span=span) - section) <= (
                    1 if length < 2 * m * n else 0
                )


@pytest.mark.parametrize(("start", "section"), [(0, 0), (45, 1), (95, 1), (44, 0)])
def test_section_of_by_hand(start, section):
    assert section_of(start, num_frames=100, num_sections=2, clip_span=10) == section
