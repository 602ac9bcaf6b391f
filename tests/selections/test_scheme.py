"""The scheme of a test: candidate positions, and the section that a clip belongs to."""

import numpy as np
import pytest

from dsn_lightning.selections import Scheme, Uniform
from helpers.clip_scores import GRID, SCHEME


def test_grid_positions():
    assert SCHEME.grid(100).ravel().tolist() == GRID


@pytest.mark.parametrize("length", [1, 20, 33, 40, 60, 96, 500])
@pytest.mark.parametrize(("m", "n"), [(1, 3), (3, 3), (6, 3), (3, 4), (10, 2)])
def test_kept_clips_belong_to_the_sections_they_were_chosen_in(length, m, n):
    """Also in a video so short that clips are shifted inwards, over the border of the next section."""
    scheme = Scheme(m, n, clip_span=32, dense_clips=10, random_draws=2)
    grid = scheme.grid(length)
    rng = np.random.default_rng(0)
    for _ in range(20):
        kept = grid[np.arange(m), rng.integers(n, size=m)]
        assert scheme.sections_of(kept, length).tolist() == list(range(m))
    uniform = Uniform().candidates("v", length, scheme)
    assert scheme.sections_of(uniform, length).tolist() == list(range(m))
    for start in grid.ravel():  # a single clip, such as the oracle's of the whole video
        assert start in grid[scheme.sections_of(np.array([start]), length)[0]]
