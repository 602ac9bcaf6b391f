"""Section and clip positions: pure integer functions of a video's length, checked by enumeration."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsn_lightning.stateless_random import stateless_rng
from dsn_lightning.video.sections import (
    clip_frames,
    num_possible_starts,
    random_clip_starts,
    section_clip_starts,
    section_of,
    uniform_clip_starts,
)

lengths, sections, clips, frames, strides, placements = (
    st.integers(1, 5000),
    st.integers(1, 12),
    st.integers(1, 8),
    st.integers(1, 64),
    st.integers(1, 8),
    st.sampled_from(["starts", "frames"]),
)
LENGTHS = range(1, 201)
SPANS = [t * stride for t, stride in [(1, 1), (8, 1), (8, 2), (32, 1), (16, 4)]]
SCHEMES = [(1, 1), (1, 3), (3, 3), (4, 3), (6, 3), (10, 1), (3, 10)]


def scheme_of(m: int, n: int, span: int) -> dict[str, int]:
    return {"num_sections": m, "clips_per_section": n, "clip_span": span}


@given(lengths, sections, clips, frames, strides, placements, st.one_of(st.none(), st.integers(0, 99)))
def test_clips_stay_in_bounds_and_in_order(length, m, n, t, stride, placement, seed):
    rng = None if seed is None else stateless_rng(seed)
    starts = section_clip_starts(length, **scheme_of(m, n, t * stride), placement=placement, rng=rng)
    assert starts.shape == (m, n)
    assert (np.diff(starts.ravel()) >= 0).all()
    assert starts.min() >= 0
    assert starts.max() <= max(0, length - t * stride)
    indices = clip_frames(starts, num_frames=length, frames_per_clip=t, frame_stride=stride)
    assert indices.shape == (m, n, t)
    assert indices.min() >= 0
    assert indices.max() < length


def test_short_video_repeats_its_last_frame():
    for placement in ("starts", "frames"):
        starts = section_clip_starts(3, num_sections=1, clips_per_section=2, clip_span=8, placement=placement)
        assert starts.tolist() == [[0, 0]]
    indices = clip_frames(np.array([0]), num_frames=3, frames_per_clip=8, frame_stride=1)
    assert indices[0].tolist() == [0, 1, 2, 2, 2, 2, 2, 2]


# Sections of possible starts


def sub_span_of(num_starts: int, num_spans: int) -> np.ndarray:
    """The sub-span k of each start s, by the definition: k <= (s + 1/2) * K / S < k + 1."""
    return (2 * np.arange(num_starts) + 1) * num_spans // (2 * num_starts)


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize(("m", "n"), SCHEMES)
def test_each_clip_starts_in_its_sub_span(m, n, span):
    """In testing and in training; sub-spans without a start of their own take the one that contains their centre."""
    for length in LENGTHS:
        num_starts, num_spans = max(1, length - span + 1), m * n
        sub_span = sub_span_of(num_starts, num_spans)
        centre = num_starts * (2 * np.arange(num_spans) + 1) // (2 * num_spans)
        is_empty = ~np.isin(np.arange(num_spans), sub_span)
        for rng in (None, *(stateless_rng(length, i) for i in range(3))):
            starts = section_clip_starts(length, **scheme_of(m, n, span), placement="starts", rng=rng).ravel()
            assert ((sub_span[starts] == np.arange(num_spans)) | (is_empty & (starts == centre))).all()
            assert rng is not None or (starts == centre).all()


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize(("m", "n"), SCHEMES)
def test_all_candidates_differ_where_there_are_enough_starts(m, n, span):
    """So no section is without a choice; in shorter videos all starts are used, about equally often."""
    for length in LENGTHS:
        num_starts = max(1, length - span + 1)
        for rng in (None, stateless_rng(length)):
            starts = section_clip_starts(length, **scheme_of(m, n, span), placement="starts", rng=rng)
            counts = np.bincount(starts.ravel(), minlength=num_starts)
            if num_starts >= m * n:
                assert counts.max() == 1
            else:
                assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize(("m", "n"), SCHEMES)
def test_test_clips_are_symmetric_in_time(m, n, span):
    """Unless a centre lies exactly between two starts: then the later one is taken."""
    for length in LENGTHS:
        num_starts = max(1, length - span + 1)
        starts = section_clip_starts(length, **scheme_of(m, n, span), placement="starts").ravel()
        between = [Fraction(num_starts * (2 * k + 1), 2 * m * n).denominator == 1 for k in range(m * n)]
        assert (starts + starts[::-1] - (num_starts - 1)).tolist() == [int(tie) for tie in between]


@pytest.mark.parametrize(("length", "span"), [(1, 8), (9, 8), (60, 32), (64, 1)])
def test_training_and_random_clips_start_anywhere_with_equal_probability(length, span):
    """With M = N = 1, a training clip and a random test clip have one distribution, uniform over 0..L - span."""
    num_starts, num_draws = num_possible_starts(length, span), 300 * num_possible_starts(length, span)
    scheme, rng = {**scheme_of(1, 1, span), "placement": "starts"}, stateless_rng(0)
    training = np.array([section_clip_starts(length, **scheme, rng=rng)[0, 0] for _ in range(num_draws)])
    testing = random_clip_starts(length, num_clips=num_draws, clip_span=span, rng=rng)
    for starts in (training, testing):
        counts = np.bincount(starts, minlength=num_starts)
        assert len(counts) == num_starts
        chi_square = ((counts - 300) ** 2 / 300).sum()
        degrees = num_starts - 1
        assert chi_square <= degrees + 4 * (2 * degrees) ** 0.5  # four standard deviations


def test_each_start_of_a_sub_span_is_drawn_equally_often():
    """29 starts, 4 sections of 3 sub-spans: each sub-span has two or three starts of its own."""
    sub_span = sub_span_of(29, 12)
    assert sub_span[:7].tolist() == [0, 0, 1, 1, 1, 2, 2]
    scheme = {**scheme_of(4, 3, 32), "placement": "starts"}
    draws = np.stack([section_clip_starts(60, **scheme, rng=stateless_rng(i)).ravel() for i in range(3000)])
    for k in range(12):
        values, counts = np.unique(draws[:, k], return_counts=True)
        assert values.tolist() == np.flatnonzero(sub_span == k).tolist()
        assert (abs(counts / 3000 - 1 / len(values)) < 0.05).all()


def test_positions_among_the_starts_by_hand():
    # 100 frames, clips of 10: 91 starts, 2 x 2 sub-spans of 22.75: centres 11.375, 34.125, 56.875, 79.625
    scheme = {"clip_span": 10, "placement": "starts"}
    starts = section_clip_starts(100, num_sections=2, clips_per_section=2, **scheme)
    assert starts.tolist() == [[11, 34], [56, 79]]
    assert uniform_clip_starts(100, num_clips=4, **scheme).tolist() == [11, 34, 56, 79]
    assert uniform_clip_starts(41, num_clips=10, clip_span=32, placement="starts").tolist() == [*range(10)]
    # 60 frames, clips of 32, 4:3: `frames` offers the first section one clip three times, and so the last one
    short = scheme_of(4, 3, 32)
    assert section_clip_starts(60, **short, placement="starts").tolist() == [
        [1, 3, 6],
        [8, 10, 13],
        [15, 18, 20],
        [22, 25, 27],
    ]
    assert section_clip_starts(60, **short, placement="frames")[[0, 3]].tolist() == [[0, 0, 0], [28, 28, 28]]


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize(("m", "n"), SCHEMES)
def test_a_clip_belongs_to_the_section_that_it_was_made_for(m, n, span):
    for length in LENGTHS:
        if length - span + 1 < m * n:
            continue
        clip = {"num_frames": length, "num_sections": m, "clip_span": span, "placement": "starts"}
        grid = section_clip_starts(length, **scheme_of(m, n, span), placement="starts")
        assert [[section_of(int(s), **clip) for s in row] for row in grid] == [[i] * n for i in range(m)]


# Sections of frames


@given(lengths, sections, clips, frames, st.one_of(st.none(), st.integers(0, 99)))
def test_each_clip_lies_in_its_sub_span_of_frames(length, m, n, t, seed):
    rng = None if seed is None else stateless_rng(seed)
    starts = section_clip_starts(length, **scheme_of(m, n, t), placement="frames", rng=rng).ravel()
    width = length / (m * n)
    for k, start in enumerate(starts):
        if 0 < start < length - t:  # not pushed inwards at an end
            middle = start + t / 2
            assert k * width - 0.5 - 1e-6 <= middle <= (k + 1) * width + 0.5 + 1e-6


def test_positions_among_the_frames_by_hand():
    # 100 frames, 2 x 2 sub-spans of 25: centres 12.5, 37.5, 62.5, 87.5; a clip of 10 starts 5 earlier, halves up
    starts = section_clip_starts(100, **scheme_of(2, 2, 10), placement="frames")
    assert starts.tolist() == [[8, 33], [58, 83]]
    assert uniform_clip_starts(100, num_clips=4, clip_span=10, placement="frames").tolist() == [8, 33, 58, 83]


def test_jitter_among_the_frames_by_hand():
    # the positions that a run of placement=frames must repeat: (k + u) * 25 - 5 rounded, u in steps of 2^-20
    starts = section_clip_starts(100, **scheme_of(2, 2, 10), placement="frames", rng=np.random.default_rng(0))
    steps = np.random.default_rng(0).integers(1 << 20, size=4)
    by_hand = [round(Fraction(25 * ((k << 20) + int(u)), 1 << 20) - 5) for k, u in enumerate(steps)]
    assert starts.ravel().tolist() == [min(90, max(0, start)) for start in by_hand]


def test_jitter_reaches_the_whole_sub_span_of_frames():
    scheme = {**scheme_of(1, 2, 2), "placement": "frames"}
    first = np.array([section_clip_starts(1000, **scheme, rng=stateless_rng(i))[0, 0] for i in range(2000)])
    assert first.min() <= 3
    assert first.max() >= 496
    assert abs(first.mean() - 249) < 10


@given(st.integers(192, 5000), sections, clips, frames)  # two frames a sub-span
def test_a_clip_belongs_to_the_section_of_frames_that_it_was_made_for(length, m, n, span):
    starts = section_clip_starts(length, **scheme_of(m, n, span), placement="frames")
    clip = {"num_frames": length, "num_sections": m, "clip_span": span, "placement": "frames"}
    for section, start in ((m, int(start)) for m, row in enumerate(starts) for start in row):
        if 0 < start < length - span:
            assert section_of(start, **clip) == section


@pytest.mark.parametrize(("start", "section"), [(0, 0), (45, 1), (95, 1), (44, 0)])
@pytest.mark.parametrize("placement", ["frames", "starts"])
def test_section_of_by_hand(start, section, placement):
    # the clip at 45 has its middle at 50 of 100 frames, and at 45.5 of 91 starts
    assert section_of(start, num_frames=100, num_sections=2, clip_span=10, placement=placement) == section
