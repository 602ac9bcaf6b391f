"""The scheme of a test: candidate positions, and the section that a clip belongs to."""

from dataclasses import replace

import numpy as np
import pytest

from dsn_lightning.selections import Dense, Scheme, Uniform
from helpers.clip_scores import GRID, SCHEME


def test_grid_positions():
    assert SCHEME.grid(100).ravel().tolist() == GRID


@pytest.mark.parametrize("length", [1, 20, 33, 40, 60, 96, 500])
@pytest.mark.parametrize(("m", "n"), [(1, 3), (3, 3), (6, 3), (3, 4), (10, 2)])
@pytest.mark.parametrize("placement", ["starts", "frames"])
def test_kept_clips_belong_to_the_sections_they_were_chosen_in(length, m, n, placement):
    """Also in a video so short that a clip has its middle in another section."""
    scheme = Scheme(m, n, clip_span=32, dense_clips=10, random_draws=2, placement=placement)
    grid = scheme.grid(length)
    rng = np.random.default_rng(0)
    for _ in range(20):
        kept = grid[np.arange(m), rng.integers(n, size=m)]
        assert scheme.sections_of(kept, length).tolist() == list(range(m))
    uniform = Uniform().candidates("v", length, scheme)
    assert scheme.sections_of(uniform, length).tolist() == list(range(m))
    for start in grid.ravel():  # a single clip, such as the oracle's of the whole video
        assert start in grid[scheme.sections_of(np.array([start]), length)[0]]


def test_equidistant_clips_follow_the_placement():
    # clips of 32 frames in 41 have the starts 0 to 9; frames / 10 would put four of ten at 0 and three at 9
    scheme = Scheme(1, 3, clip_span=32, dense_clips=10, random_draws=2)
    assert Dense().candidates("v", 41, scheme).tolist() == [*range(10)]
    assert Uniform().candidates("v", 41, scheme).tolist() == [5]
    of_frames = replace(scheme, placement="frames")
    assert Dense().candidates("v", 41, of_frames).tolist() == [0, 0, 0, 0, 2, 7, 9, 9, 9, 9]
