"""Each selection method on scores made by hand."""

import numpy as np
import pytest

from dsn_lightning.selections import (
    Dense,
    MaxResponse,
    MostConfident,
    Oracle,
    OracleVideo,
    Policy,
    Random,
    Uniform,
    VideoScores,
)
from helpers.clip_scores import GRID, SCHEME, log, video

DSN = Policy("dsn", ("dsn",))
METHODS = (Random(), Uniform(), Dense(), DSN, MaxResponse(), MostConfident(), Oracle(), OracleVideo())


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        (Uniform(), [[20, 70]]),
        (Dense(), [GRID]),
        (DSN, [[33, 58]]),
        (MaxResponse(), [[33, 58]]),
        (MostConfident(), [[8, 58]]),
        (Oracle(), [[33, 83]]),
        (OracleVideo(), [[33]]),
    ],
)
def test_selection_by_hand(selection, kept):
    assert selection.select(video(), SCHEME, "baseline").tolist() == kept


def test_oracle_prefers_a_correct_clip_to_a_higher_score():
    three = {8: log(0.34, 0.33, 0.33), 33: log(0.4, 0.5, 0.1), 58: log(0.1, 0.8, 0.1), 83: log(0.2, 0.7, 0.1)}
    scores = VideoScores("v", 100, np.array([1.0, 0, 0], np.float32), {"baseline": three})
    assert Oracle().select(scores, SCHEME, "baseline").tolist() == [[8, 83]]


@pytest.mark.parametrize("selection", METHODS, ids=lambda selection: selection.name)
def test_kept_clips_are_among_the_candidates(selection):
    candidates = set(selection.candidates("v", 100, SCHEME).tolist())
    scores = video(logits={n: dict.fromkeys({*candidates, *GRID}, log(0.5, 0.5)) for n in ("baseline", "max_response")})
    assert set(selection.select(scores, SCHEME, "baseline").ravel().tolist()) <= candidates


def test_random_draws_are_seeded_and_differ():
    first, again = (Random().select(video(), SCHEME, "baseline") for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (10, 2)
    assert len({tuple(draw) for draw in first.tolist()}) > 5
