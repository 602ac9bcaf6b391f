"""A sampler that may skip sections: from its logits to selected clips, answers, costs and files."""

import numpy as np
import pytest
import torch

from dsn_lightning.algorithms.dsn import keep_one
from dsn_lightning.consensus import consensus_log_probabilities
from dsn_lightning.evaluation.learning_checks import policy_messages
from dsn_lightning.evaluation.outcomes import evaluation_of
from dsn_lightning.evaluation.predictions import predictions_csv
from dsn_lightning.evaluation.results import answers_of, measure, results_table
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.splits import mean_over_splits, with_mean_clips
from dsn_lightning.files import UnreadableFileError
from dsn_lightning.selections import Policy, VideoScores
from dsn_lightning.text_tables import csv_records
from helpers.clip_scores import SCHEME, columns
from helpers.report_files import row_of

POLICY = Policy("dsn", ("baseline",))
NOTHING = ([-9.0, 9.0], [9.0, 8.0], [-9.0, -9.0])  # keeps the first section; neither, so the second; both


def scores_of() -> ClipScores:
    rng = np.random.default_rng(0)
    videos = []
    for v, nothing in enumerate(NOTHING):
        logits = {int(start): rng.normal(size=2).astype(np.float32) for start in SCHEME.grid(100).ravel()}
        videos.append(
            VideoScores(
                f"v{v}",
                100,
                np.eye(2, dtype=np.float32)[v % 2],
                {"baseline": logits},
                {"dsn": {(2, 2): np.array([[0.0, 1.0], [2.0, 0.0]], np.float32)}},
                {"dsn": {(2, 2): np.array(nothing, np.float32)}},
            )
        )
    return columns(videos)


def test_a_video_keeps_the_clips_of_the_sections_that_keep_something_and_at_least_one():
    grid = SCHEME.grid(100)
    kept = [POLICY.select(video, SCHEME, "baseline").tolist() for video in scores_of().videos()]
    assert kept == [[[grid[0, 1]]], [[grid[1, 0]]], [[grid[0, 1], grid[1, 0]]]]


def test_training_and_testing_keep_the_same_clips():
    for video in scores_of().videos():
        logits = torch.from_numpy(np.column_stack([video.policies["dsn"][2, 2], video.nothing["dsn"][2, 2]]))[None]
        action = keep_one(logits, logits.argmax(-1))[0].tolist()
        starts = [SCHEME.grid(100)[m, n] for m, n in enumerate(action) if n < 2]
        assert POLICY.select(video, SCHEME, "baseline")[0].tolist() == starts


def test_answers_average_the_kept_clips_alone():
    logits = [np.random.default_rng(k).normal(size=(k, 3)).astype(np.float32) for k in (2, 1, 4)]
    for consensus in ("probabilities", "logits"):
        one_by_one = [consensus_log_probabilities(torch.from_numpy(clips), consensus=consensus) for clips in logits]
        torch.testing.assert_close(answers_of(logits, consensus=consensus), torch.stack(one_by_one))


def test_a_row_has_the_mean_number_of_clips_and_seeds_may_differ_in_it():
    row = measure(scores_of(), POLICY, SCHEME, "baseline", consensus="probabilities")
    assert row["clips"] == pytest.approx(4 / 3)
    rows = [row_of(seed=seed, clips=clips, gmacs=clips) for seed, clips in enumerate((4.0, 4.5))]
    table = results_table(rows)
    assert len(table.rows) == 1
    assert table.rows[0][3] == "4.2"


def test_files_hold_the_logits_of_keeping_nothing(tmp_path):
    scores = scores_of()
    scores.save(tmp_path / "clip_scores.npz")
    loaded = ClipScores.load(tmp_path / "clip_scores.npz")
    assert loaded.videos()[1].nothing["dsn"][2, 2].tolist() == NOTHING[1]
    row = row_of(M=2, N=2, selection="dsn", classifier="baseline")
    evaluation = evaluation_of("x", [row], loaded, [POLICY])
    lines = csv_records(predictions_csv(evaluation))
    assert [len(line["starts_seconds"].split(";")) for line in lines] == [1, 1, 2]


def test_a_sampler_that_may_keep_nothing_in_one_section_of_a_video_only_is_refused(tmp_path):
    scores = scores_of()
    scores.section_nothing[0] = np.nan
    scores.save(tmp_path / "clip_scores.npz")
    with pytest.raises(UnreadableFileError, match="section_nothing: expected finite values, or NaN in all"):
        ClipScores.load(tmp_path / "clip_scores.npz")


def test_the_number_of_clips_is_a_mean_even_if_all_videos_keep_as_many():
    scores = scores_of()
    scores.section_nothing[:] = -9.0
    row = measure(scores, POLICY, SCHEME, "baseline", consensus="probabilities")
    assert isinstance(row["clips"], float)
    assert row["clips"] == 2
    scores.section_nothing[:] = np.nan
    assert measure(scores, POLICY, SCHEME, "baseline", consensus="probabilities")["clips"] == 2
    assert isinstance(measure(scores, POLICY, SCHEME, "baseline", consensus="probabilities")["clips"], int)


def test_means_over_splits_and_reports_count_the_mean_number_of_clips():
    rows = [row_of(split=split, clips=clips, gmacs=clips / 4) for split, clips in ((1, 2.0), (2, 4.5))]
    (mean,) = mean_over_splits(rows)
    assert mean["clips"] == 3.25
    assert with_mean_clips({"M": 3}, [row_of(clips=3)]) == {"M": 3}


def test_a_policy_that_skips_every_section_has_collapsed_to_nothing():
    scores = scores_of()
    scores.section_nothing[:] = 50.0
    assert "it keeps nothing in 100.0% of the sections" in policy_messages(scores)[0]
    scores.section_nothing[:] = [50.0, -50.0] * 3
    assert policy_messages(scores) == []
