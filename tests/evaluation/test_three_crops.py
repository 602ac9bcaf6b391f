"""Three crops at test: what the networks look at, how crops are joined, and what they cost."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dsn_lightning.cli.evaluate_recipe import evaluate_trained
from dsn_lightning.config.compose import plain
from dsn_lightning.config.evaluation_settings import EvaluationSettings
from dsn_lightning.config.settings import Settings
from dsn_lightning.consensus import consensus_log_probabilities
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.scores import ClipScores, join_crops
from dsn_lightning.video.crops import Crop
from helpers.synthetic import SyntheticData, composed, composed_config, frames_of, fresh

SIZE = (34, 60)
OVERRIDES = (
    "M=2",
    "N=2",
    "test.random_draws=2",
    f"backbone.frame_size={list(SIZE)}",
    "dataset.name=synthetic",
    "dataset.reading.dense_clips=3",
)


@pytest.fixture(scope="module", params=["probabilities", "logits"])
def tested(request, tmp_path_factory):
    """The same three networks tested on one crop and on three: folder, rows and scores of each."""
    root = tmp_path_factory.mktemp("crops")
    overrides = (*OVERRIDES, f"algorithm.consensus={request.param}")
    settings = composed(*overrides)
    given = {
        "dsn": fresh(settings, root / "dsn.ckpt"),
        "baseline": fresh(composed(*overrides, "algorithm=baseline"), root / "baseline.ckpt", seed=1),
        "max_response": fresh(
            composed(*overrides, "algorithm=baseline", "backbone=r2d_tiny"), root / "r2d.ckpt", seed=2
        ),
    }
    data = SyntheticData("rgb", settings, num_videos=4)
    found = {}
    for crops in (1, 3):
        folder = root / str(crops)
        settings = settings.changed({"test.crops": crops, "run_dir": str(folder)})
        rows = evaluate_trained(given, settings, data, device=torch.device("cpu"))
        by = {(row["selection"], row["classifier"]): row for row in rows}
        found[crops] = (by, ClipScores.load(folder / "clip_scores.npz"))
    return given, data, found


def clip_rows(scores: ClipScores, network: str) -> dict[tuple[int, int], np.ndarray]:
    return {
        (int(v), int(s)): row
        for v, s, n, row in zip(
            scores.clip_video, scores.clip_start, scores.clip_network, scores.clip_logits, strict=True
        )
        if n == network
    }


@pytest.mark.parametrize("network", ["baseline", "dsn"])
def test_a_clips_scores_are_those_of_its_three_windows(tested, network):
    given, data, found = tested
    scores = found[3][1]
    recognizer = given[network].recognizer
    videos = data.videos("test")
    rows = clip_rows(scores, network)
    assert rows.keys() == clip_rows(found[1][1], network).keys()
    for (v, start), row in list(rows.items())[::5]:
        frames = frames_of(Path(videos[v].record.path), np.arange(start, start + 8), SIZE, "rgb")
        windows = [frames[:, 1:33, left : left + 32].transpose(3, 0, 1, 2) for left in (0, 14, 28)]
        with torch.no_grad():
            logits = torch.stack([recognizer.classify(torch.from_numpy(w.copy())[None])[0] for w in windows])
        if scores.consensus == "probabilities":
            expected = logits.softmax(-1).mean(0)
        else:
            expected = logits.mean(0).softmax(-1)
        torch.testing.assert_close(torch.from_numpy(row).softmax(-1), expected, atol=1e-5, rtol=1e-5)


def test_one_crop_is_the_middle_one(tested):
    given, data, found = tested
    rows = clip_rows(found[1][1], "baseline")
    (v, start), row = next(iter(rows.items()))
    frames = frames_of(Path(data.videos("test")[v].record.path), np.arange(start, start + 8), SIZE, "rgb")
    with torch.no_grad():
        window = torch.from_numpy(frames[:, 1:33, 14:46].transpose(3, 0, 1, 2).copy())
        logits = given["baseline"].recognizer.classify(window[None])[0]
    torch.testing.assert_close(torch.from_numpy(row), logits, atol=1e-5, rtol=1e-5)


def test_what_chooses_clips_looks_at_the_middle_only(tested):
    _, _, found = tested
    one, three = found[1][1], found[3][1]
    np.testing.assert_allclose(three.section_logits, one.section_logits, atol=1e-6)
    assert np.ptp(one.section_logits, axis=1).max() > 1e-3
    own, other = clip_rows(one, "max_response"), clip_rows(three, "max_response")
    assert all(np.allclose(own[key], other[key], atol=1e-6) for key in own)
    answers = clip_rows(one, "baseline"), clip_rows(three, "baseline")
    assert not any(np.allclose(answers[0][key], answers[1][key], atol=1e-4) for key in answers[0])


def test_three_crops_cost_three_classifications(tested):
    _, _, found = tested
    one, three = found[1][0], found[3][0]
    for key in one:
        assert (one[key]["crops"], three[key]["crops"]) == (1, 3)
        if one[key]["gmacs"] is not None:
            assert three[key]["gmacs_classifier"] == pytest.approx(3 * one[key]["gmacs_classifier"])
            assert three[key]["gmacs_observation"] == one[key]["gmacs_observation"]
            assert three[key]["gmacs"] == three[key]["gmacs_classifier"] + three[key]["gmacs_observation"]
    assert one["max_response", "baseline"]["gmacs_observation"] > 0


def test_the_file_says_how_the_test_was_made(tested):
    _, _, found = tested
    for crops, (_, scores) in found.items():
        assert (scores.crops, scores.dense_clips, scores.random_draws) == (crops, 3, 2)


@pytest.mark.parametrize("consensus", ["probabilities", "logits"])
def test_joined_crops_leave_the_consensus_exact(consensus):
    """Over clips of joined crops it is that over all crops of all clips."""
    logits = torch.randn(5, 4, 3, 7, dtype=torch.float64)  # videos, clips, crops, classes
    joined = consensus_log_probabilities(join_crops(logits, consensus=consensus), consensus=consensus)
    flat = consensus_log_probabilities(logits.flatten(1, 2), consensus=consensus)
    torch.testing.assert_close(joined, flat)


@pytest.mark.parametrize("value", ["2", "0", "true", "null", "[1,3]"])
def test_other_numbers_of_crops_are_refused(value):
    for name, settings in (("train", Settings), ("evaluate", EvaluationSettings)):
        with pytest.raises(UsageError, match=r"test\.crops=.*must be 1 .* or 3"):
            settings.of(plain(composed_config(f"test.crops={value}", name=name)))


def test_frames_without_three_windows_are_refused():
    with pytest.raises(UsageError, match=r"test\.crops=3: three windows of 32 pixels .* do not fit"):
        Crop((33, 33), 32, windows=3)
