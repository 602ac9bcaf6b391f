"""From clip scores to rows and tables, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from dsn_lightning.evaluation.results import FIELDS, hit_rate, mean_and_spread, measure, results_table
from dsn_lightning.selections import Random, Scheme
from helpers.clip_scores import SCHEME, columns, log, video


def test_random_averages_metrics_and_not_scores():
    """A video whose draws are correct in 3 of 10 cases has accuracy 0.3; averaged scores would give 0 or 1."""
    draws = Random().select(video(), SCHEME, "baseline")
    rows = {int(s): log(0.4, 0.6) for s in draws.ravel()}
    for s in draws[:3].ravel():
        rows[int(s)] = log(0.99, 0.01)
    correct = [np.mean([np.exp(rows[int(s)][0]) for s in draw]) > 0.5 for draw in draws]
    row = measure(columns([video(logits={"baseline": rows})]), Random(), SCHEME, "baseline", consensus="probabilities")
    assert row["top1"] == pytest.approx(np.mean(correct))
    assert 0 < row["top1"] < 1


def test_hits_of_a_short_video_count_in_their_own_sections():
    """In a video of 40 frames, all clips of 32 frames have their middles in the second section."""
    scheme = Scheme(3, 3, clip_span=32, dense_clips=4, random_draws=1, placement="frames")
    assert scheme.grid(40).tolist() == [[0, 0, 0], [0, 4, 8], [8, 8, 8]]
    short = replace(video(logits={"baseline": dict.fromkeys((0, 4, 8), log(0.5, 0.5))}), num_frames=40)
    scores = replace(columns([short], spans=[(0, (0.0, 18 / 25))]), frames_per_clip=32)  # only clip 0 shows the action
    assert hit_rate(scores, [np.array([[0, 4, 8]])], scheme) == 0.5  # of the two sections that contain such a clip
    assert hit_rate(scores, [np.array([[0, 0, 8]])], scheme) == 1.0


def test_hits_among_possible_starts_count_in_their_own_sections():
    """40 frames and clips of 32: of the starts 0 to 8, each of three sections has three."""
    scheme = Scheme(3, 3, clip_span=32, dense_clips=4, random_draws=1)
    assert scheme.grid(40).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    short = replace(video(logits={"baseline": {s: log(0.5, 0.5) for s in range(9)}}), num_frames=40)
    scores = replace(columns([short], spans=[(0, (0.0, 20 / 25))]), frames_per_clip=32)  # the clips at 0 to 4 show it
    assert hit_rate(scores, [np.array([[2, 5, 8]])], scheme) == 0.5  # the last section does not contain it
    assert hit_rate(scores, [np.array([[2, 3, 6]])], scheme) == 1.0
    assert hit_rate(scores, [np.array([[5, 5, 2]])], scheme) == pytest.approx(1 / 3)  # drawn from the whole video


def test_hit_rate_by_hand():
    # action in frames 30..45: clip 33 (33..43) shows it, 58 does not; section 1 does not contain it and does not count
    scores = columns([video()], spans=[(0, (30 / 25, 45 / 25))])
    assert hit_rate(scores, [np.array([[33, 58]])], SCHEME) == 1.0
    assert hit_rate(scores, [np.array([[8, 58]])], SCHEME) == 0.0
    assert hit_rate(scores, [np.array([[33, 58], [8, 58]])], SCHEME) == 0.5
    assert hit_rate(columns([video()]), [np.array([[33, 58]])], SCHEME) is None


BASE = dict.fromkeys(FIELDS) | {"dataset": "d", "selection": "dsn", "classifier": "dsn", "M": 3, "N": 4, "clips": 3}


def test_seeds_are_grouped():
    groups = mean_and_spread([BASE | {"seed": 0, "top1": 0.4}, BASE | {"seed": 1, "top1": 0.6}])
    assert len(groups) == 1
    assert groups[0][1]["top1"].tolist() == [0.4, 0.6]


@pytest.mark.parametrize("key", ["gamma", "backbone", "split", "observation"])
def test_runs_that_differ_in_more_than_the_seed_are_not_joined(key):
    groups = mean_and_spread([BASE | {"seed": 0, "top1": 0.4, key: 1}, BASE | {"seed": 1, "top1": 0.6, key: 2}])
    assert [figures["top1"].tolist() for _, figures in groups] == [[0.4], [0.6]]


def test_the_table_shows_mean_and_deviation_of_the_rates_that_apply():
    rows = [BASE | {"seed": 0, "top1": 0.4, "gmacs": 1.5}, BASE | {"seed": 1, "top1": 0.6, "gmacs": 1.5}]
    assert results_table(rows).markdown() == (
        "| selection | classifier | M:N | clips | top-1 | GMACs |\n"
        "| --- | --- | --- | --- | ---: | ---: |\n"
        "| dsn | dsn | 3:4 | 3 | 50.0 ± 14.1 | 1.5 |\n"
    )
