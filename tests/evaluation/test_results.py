"""Selections, clip scores, metrics and tables on hand-made scores, and against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, balanced_accuracy_score, top_k_accuracy_score

from dsn_lightning.evaluation.results import FIELDS, hit_rate, mean_and_spread, measure, to_csv
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.metrics import (
    VideoMetrics,
    mean_average_precision,
    mean_class_accuracy,
    top_k_accuracy,
    video_metrics,
)
from dsn_lightning.selections.max_response import MaxResponse
from dsn_lightning.selections.oracle import Oracle, OracleVideo
from dsn_lightning.selections.policy import Policy
from dsn_lightning.selections.random_clips import Random
from dsn_lightning.selections.scheme import Scheme, VideoScores
from dsn_lightning.selections.uniform import Dense, Uniform
from helpers.clip_scores import SCHEME, columns


def drawn(num_videos: int = 60, num_classes: int = 7) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(num_classes, size=num_videos)
    scores = torch.from_numpy(rng.dirichlet(np.ones(num_classes), num_videos)).float()
    targets = torch.nn.functional.one_hot(torch.from_numpy(labels), num_classes).float()
    return scores, targets, labels


def test_metrics_equal_scikit_learns():
    scores, targets, labels = drawn()
    figures = video_metrics(scores, targets)
    classes = np.arange(7)
    assert figures["top1"] == pytest.approx(top_k_accuracy_score(labels, scores.numpy(), k=1, labels=classes))
    assert figures["top5"] == pytest.approx(top_k_accuracy_score(labels, scores.numpy(), k=5, labels=classes))
    assert figures["mean_class"] == pytest.approx(balanced_accuracy_score(labels, scores.numpy().argmax(1)))
    theirs = average_precision_score(targets.numpy(), scores.numpy(), average="macro")
    assert figures["map"] == pytest.approx(theirs, abs=1e-5)


def test_several_labels_count_as_right_and_absent_classes_do_not_count():
    scores = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1]])
    targets = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 1.0, 0]])
    assert top_k_accuracy(scores, targets, k=1) == 0.5
    assert top_k_accuracy(scores, targets, k=4) is None
    assert mean_class_accuracy(scores, targets) == pytest.approx((1 + 1 + 0) / 3)
    theirs = np.mean([average_precision_score(targets[:, j] > 0, scores[:, j]) for j in range(3)])
    assert mean_average_precision(scores, targets) == pytest.approx(theirs)


def test_a_probability_above_one_by_rounding_is_no_logit():
    scores, targets, _ = drawn()
    scores[0] = torch.tensor([1.0 + 2**-23] + [1e-9] * 6)
    expected = np.mean([average_precision_score(targets[:, j], scores[:, j]) for j in range(7)])
    assert mean_average_precision(scores, targets) == pytest.approx(expected, abs=1e-6)


def test_metric_object_equals_the_function():
    scores, targets, _ = drawn()
    metric = VideoMetrics()
    for part in range(0, 60, 25):
        metric.update(scores[part : part + 25], targets[part : part + 25])
    assert metric.compute() == video_metrics(scores, targets)


GRID = [8, 33, 58, 83]  # of 100 frames


def log(*probabilities: float) -> np.ndarray:
    return np.log(np.array(probabilities, np.float32))


RESPONSES = {8: log(0.5, 0.5), 33: log(0.4, 0.6), 58: log(0.95, 0.05), 83: log(0.2, 0.8)}


def video(**changes) -> VideoScores:
    """True class 0; clip at 33 is right, in the second section none is and 83 is the less wrong one."""
    rows = {8: log(0.2, 0.8), 33: log(0.6, 0.4), 58: log(0.1, 0.9), 83: log(0.45, 0.55)}
    arguments = {
        "logits": {"baseline": rows, "max_response": RESPONSES},
        "policies": {"dsn": {(2, 2): np.array([[0.0, 1.0], [2.0, 1.0]], np.float32)}},
    }  # fmt: skip
    return VideoScores("v", 100, np.array([1.0, 0.0], np.float32), **{**arguments, **changes})


def test_grid_positions():
    assert SCHEME.grid(100).ravel().tolist() == GRID


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        (Uniform(), [[20, 70]]),
        (Dense(), [GRID]),
        (Policy("dsn", ("dsn",)), [[33, 58]]),
        (MaxResponse(), [[33, 58]]),
        (Oracle(), [[33, 83]]),
        (OracleVideo(), [[33]]),
    ],
)
def test_selection_by_hand(selection, kept):
    assert selection.select(video(), SCHEME, "baseline").tolist() == kept


def test_oracle_prefers_a_right_clip_to_a_higher_score():
    three = {8: log(0.34, 0.33, 0.33), 33: log(0.4, 0.5, 0.1), 58: log(0.1, 0.8, 0.1), 83: log(0.2, 0.7, 0.1)}
    scores = VideoScores("v", 100, np.array([1.0, 0, 0], np.float32), {"baseline": three})
    assert Oracle().select(scores, SCHEME, "baseline").tolist() == [[8, 83]]


@pytest.mark.parametrize(
    "selection",
    [Random(), Uniform(), Dense(), Policy("dsn", ("dsn",)), MaxResponse(), Oracle(), OracleVideo()],
)
def test_what_is_kept_is_among_the_candidates(selection):
    candidates = set(selection.candidates("v", 100, SCHEME).tolist())
    scores = video(logits={n: dict.fromkeys({*candidates, *GRID}, log(0.5, 0.5)) for n in ("baseline", "max_response")})
    assert set(selection.select(scores, SCHEME, "baseline").ravel().tolist()) <= candidates


def test_random_draws_are_seeded_and_differ():
    first, again = (Random().select(video(), SCHEME, "baseline") for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (10, 2)
    assert len({tuple(draw) for draw in first.tolist()}) > 5


def test_scores_survive_the_file(tmp_path):
    scores = columns([video(), video()])
    scores.save(tmp_path / "clip_scores.npz")
    read = ClipScores.load(tmp_path / "clip_scores.npz").videos()
    assert [p.name for p in tmp_path.iterdir()] == ["clip_scores.npz"]
    for own, back in zip(scores.videos(), read, strict=True):
        assert own.video_id == back.video_id
        assert np.array_equal(own.of("baseline", np.array(GRID)), back.of("baseline", np.array(GRID)))
        assert np.array_equal(own.policies["dsn"][2, 2], back.policies["dsn"][2, 2])


def test_random_averages_metrics_and_not_scores():
    """A video whose draws are right in 3 of 10 cases has accuracy 0.3; averaged scores would give 0 or 1."""
    draws = Random().select(video(), SCHEME, "baseline")
    rows = {int(s): log(0.4, 0.6) for s in draws.ravel()}
    for s in draws[:3].ravel():
        rows[int(s)] = log(0.99, 0.01)
    right = [np.mean([np.exp(rows[int(s)][0]) for s in draw]) > 0.5 for draw in draws]
    row = measure(columns([video(logits={"baseline": rows})]), Random(), SCHEME, "baseline", consensus="probabilities")
    assert row["top1"] == pytest.approx(np.mean(right))
    assert 0 < row["top1"] < 1


@pytest.mark.parametrize("length", [1, 20, 33, 40, 60, 96, 500])
@pytest.mark.parametrize(("m", "n"), [(1, 3), (3, 3), (6, 3), (3, 4), (10, 2)])
def test_kept_clips_stand_for_their_own_sections(length, m, n):
    """Also in a video so short that clips are shifted inwards, over the border of the next section."""
    scheme = Scheme(m, n, clip_span=32, dense_clips=10, random_draws=2)
    grid = scheme.grid(length)
    rng = np.random.default_rng(0)
    for _ in range(20):
        kept = grid[np.arange(m), rng.integers(n, size=m)]
        assert scheme.sections_of(kept, length).tolist() == list(range(m))
    uniform = Uniform().candidates("v", length, scheme)
    assert scheme.sections_of(uniform, length).tolist() == list(range(m))
    for section, own in enumerate(grid):  # one clip alone, such as the oracle's of the whole video
        for start in own:
            assert start in grid[scheme.sections_of(np.array([start]), length)[0]], section


def test_hits_of_a_short_video_count_in_their_own_sections():
    """Of 40 frames, clips of 32 have their centres in the second section, wherever they were made for."""
    scheme = Scheme(3, 3, clip_span=32, dense_clips=4, random_draws=1)
    assert scheme.grid(40).tolist() == [[0, 0, 0], [0, 4, 8], [8, 8, 8]]
    short = replace(video(logits={"baseline": dict.fromkeys((0, 4, 8), log(0.5, 0.5))}), num_frames=40)
    scores = replace(columns([short], spans=[(0, (0.0, 18 / 25))]), frames_per_clip=32)  # clip 0 alone shows it
    assert hit_rate(scores, [np.array([[0, 4, 8]])], scheme) == 0.5  # of the two sections that hold such a clip
    assert hit_rate(scores, [np.array([[0, 0, 8]])], scheme) == 1.0


def test_hit_rate_by_hand():
    # action in frames 30..45: clip 33 (33..43) shows it, 58 does not; section 1 holds none and does not count
    scores = columns([video()], spans=[(0, (30 / 25, 45 / 25))])
    assert hit_rate(scores, [np.array([[33, 58]])], SCHEME) == 1.0
    assert hit_rate(scores, [np.array([[8, 58]])], SCHEME) == 0.0
    assert hit_rate(scores, [np.array([[33, 58], [8, 58]])], SCHEME) == 0.5
    assert hit_rate(columns([video()]), [np.array([[33, 58]])], SCHEME) is None


def test_a_clip_shows_the_action_when_half_of_it_does():
    scores = columns([video()], spans=[(0, (30 / 25, 45 / 25))])
    assert scores.shows_action(0, np.array([24, 25, 40, 41])).tolist() == [False, True, True, False]


def test_rows_become_csv_with_empty_cells():
    row = dict.fromkeys(FIELDS) | {"dataset": "d", "top1": 0.5}
    header, line = to_csv([row]).splitlines()
    assert header.split(",")[0] == "dataset"
    assert line.startswith("d,,")


def test_seeds_are_grouped():
    base = dict.fromkeys(FIELDS) | {"dataset": "d", "selection": "dsn", "classifier": "dsn"}
    groups = mean_and_spread([base | {"seed": 0, "top1": 0.4}, base | {"seed": 1, "top1": 0.6}])
    assert len(groups) == 1
    assert groups[0][1]["top1"].tolist() == [0.4, 0.6]


@pytest.mark.parametrize("key", ["gamma", "backbone", "split", "observation"])
def test_runs_that_differ_in_more_than_the_seed_are_not_joined(key):
    base = dict.fromkeys(FIELDS) | {"dataset": "d", "selection": "dsn", "classifier": "dsn"}
    groups = mean_and_spread([base | {"seed": 0, "top1": 0.4, key: 1}, base | {"seed": 1, "top1": 0.6, key: 2}])
    assert [figures["top1"].tolist() for _, figures in groups] == [[0.4], [0.6]]
