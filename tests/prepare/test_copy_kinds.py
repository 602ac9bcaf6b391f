"""The kinds of copies: sizes, time stamps and file names."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dsn_lightning.prepare.copy_kinds import FlowCopy, SmallCopy, small_size
from dsn_lightning.video.video_info import VideoInfo


@given(st.integers(2, 4000), st.integers(2, 4000), st.integers(16, 512))
def test_small_sizes_are_even_and_keep_the_aspect(height, width, short_side):
    sizes = small_size(height, width, short_side)
    scale = min(1, short_side / min(height, width))
    assert all(
        side % 2 == 0 and abs(side - scale * before) <= 1 for side, before in zip(sizes, (height, width), strict=True)
    )


def test_flow_stamps_increase_where_a_millisecond_is_too_coarse():
    fast = VideoInfo(6, 4000.0, 8, 8)
    stamps, unit = FlowCopy().stamps(fast)
    assert unit == Fraction(1, 1000)
    assert (np.diff(stamps) > 0).all()


def test_copies_have_distinct_paths(tmp_path):
    root, out = tmp_path / "videos", tmp_path / "out"
    assert SmallCopy.target(out, root, root / "a" / "b.avi") == out / "small" / "a" / "b.avi.mp4"
    assert FlowCopy.target(out, root, root / "a" / "b.avi") == out / "flow" / "a" / "b.avi.mkv"
