"""The clip-score file."""

from dataclasses import replace

import numpy as np
import pytest

from dsn_lightning.evaluation.scores import ClipScores
from helpers.clip_scores import GRID, columns, video


def test_scores_survive_the_file(tmp_path):
    scores = columns([video(), replace(video(), video_id="w")])
    scores.save(tmp_path / "clip_scores.npz")
    read = ClipScores.load(tmp_path / "clip_scores.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["clip_scores.npz"]
    for before, after in zip(scores.videos(), read.videos(), strict=True):
        assert before.video_id == after.video_id
        assert np.array_equal(before.logits_at("baseline", np.array(GRID)), after.logits_at("baseline", np.array(GRID)))
        assert np.array_equal(before.policies["dsn"][2, 2], after.policies["dsn"][2, 2])
    assert read.scheme(2, 2) == scores.scheme(2, 2)


@pytest.mark.parametrize(("column", "named"), [("clip_logits", "baseline"), ("section_logits", "dsn sampler")])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_not_read(column, named, value, tmp_path):
    scores = columns([video(), replace(video(), video_id="w")])
    getattr(scores, column)[0, 0] = value
    scores.save(tmp_path / "clip_scores.npz")
    with pytest.raises(ValueError, match=f"the scores of the network {named} are not finite$"):
        ClipScores.load(tmp_path / "clip_scores.npz")


def test_the_padding_of_smaller_schemes_is_not_a_score(tmp_path):
    policies = {"dsn": {(2, 2): np.zeros((2, 2), np.float32)}}
    scores = columns([video(policies=policies)])
    padded = np.pad(scores.section_logits, ((0, 0), (0, 1)), constant_values=np.nan)
    replace(scores, section_logits=padded).save(tmp_path / "clip_scores.npz")
    assert ClipScores.load(tmp_path / "clip_scores.npz").videos()[0].policies["dsn"][2, 2].shape == (2, 2)


def test_a_clip_shows_the_action_when_half_of_it_does():
    scores = columns([video()], spans=[(0, (30 / 25, 45 / 25))])
    assert scores.shows_action(0, np.array([24, 25, 40, 41])).tolist() == [False, True, True, False]
