"""What is divided into sections, from the key to the batches, the scores and the comparison of trained runs."""

import numpy as np
import pytest
import torch

from dsn_lightning.cli.evaluate_recipe import evaluate_trained
from dsn_lightning.config.build import build_datamodule
from dsn_lightning.config.compose import plain, settings_of
from dsn_lightning.config.evaluation_settings import EvaluationSettings
from dsn_lightning.config.initial_weights import check_starts
from dsn_lightning.config.trained import check_fits
from dsn_lightning.data.batches import Draw
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.stored import read_evaluation
from dsn_lightning.selections import Dense, Random, Uniform
from helpers.synthetic import CLASSES, SyntheticData, composed, composed_config, fresh

KEY = "dataset.reading.placement"
OVERRIDES = ("dataset.name=synthetic", "dataset.reading.dense_clips=10", "M=2", "N=3", "test.random_draws=3")
# of 40 frames, T = 8: 33 starts or 40 frames in 6 sub-spans, and in 10
GRIDS = {
    "starts": ([[2, 8, 13], [19, 24, 30]], [1, 4, 8, 11, 14, 18, 21, 24, 28, 31]),
    "frames": ([[0, 6, 13], [19, 26, 32]], [0, 2, 6, 10, 14, 18, 22, 26, 30, 32]),
}


@pytest.fixture(scope="module", params=["starts", "frames"])
def placed(request, tmp_path_factory):
    """A DSN and a baseline of one placement, and the folder of their evaluation."""
    root = tmp_path_factory.mktemp("placed")
    settings = composed(*OVERRIDES, f"{KEY}={request.param}", f"run_dir={root}/run")
    runs = {
        "dsn": fresh(settings, root / "dsn.ckpt"),
        "baseline": fresh(composed(*OVERRIDES, f"{KEY}={request.param}", "algorithm=baseline"), root / "b.ckpt"),
    }
    data = SyntheticData("rgb", settings, num_videos=4)
    evaluate_trained(runs, settings, data, device=torch.device("cpu"))
    return request.param, runs, root / "run"


def test_starts_are_divided_unless_told_otherwise():
    assert settings_of("run_dir=x").dataset.reading.placement == "starts"
    for name in ("hmdb51", "thumos14"):  # trimmed and untrimmed
        assert settings_of(f"dataset={name}", "run_dir=x").dataset.reading.placement == "starts"
    with pytest.raises(UsageError, match=rf"{KEY}=ends: must be starts or frames"):
        settings_of(f"{KEY}=ends", "run_dir=x")


def test_batches_follow_the_key(needle_root, tmp_path):
    overrides = (f"dataset.root={needle_root}", "dataset.num_train=12", "dataset.num_val=6", "dataset.num_test=6")
    found = {}
    for placement in ("starts", "frames"):
        prepared = f"dataset.reading.prepared={tmp_path}"
        settings = composed(*overrides, f"{KEY}={placement}", "M=1", "N=1", "algorithm=baseline", prepared)
        data = build_datamodule(settings)
        data.prepare_data()
        data.setup()
        lengths = np.array([video.num_frames for video in data.videos("val")])
        starts = torch.cat([batch["start_frame"] for batch in data.val_dataloader()]).flatten().numpy()
        # the middle of 0..L - 8, and the clip around the middle of the video: the same for one clip, ties rounded up
        assert (starts == (lengths - 8 + 1) // 2).all()
        clips = data.section_clips("train")
        found[placement] = [clips[Draw(epoch, 0)]["start_frame"].item() for epoch in range(100)]
    last = data.videos("train")[0].num_frames - 8
    at_an_end = {name: np.isin(starts, [0, last]).sum() for name, starts in found.items()}
    assert at_an_end["starts"] <= 4 < at_an_end["frames"]  # expected of 100: about 1.4 and 6


def test_every_method_follows_the_placement_and_the_file_stores_it(placed):
    placement, _, folder = placed
    scores = ClipScores.load(folder / "clip_scores.npz")
    grid, dense = GRIDS[placement]
    scheme = scores.scheme(2, 3)
    assert scores.placement == placement
    assert scores.num_frames[0] == 40
    assert scheme.grid(40).tolist() == grid
    assert Dense().candidates("test_0", 40, scheme).tolist() == dense
    stored = set(scores.clip_start[(scores.clip_video == 0) & (scores.clip_network == "baseline")].tolist())
    random = set(Random().candidates("test_0", 40, scheme).tolist())
    assert stored == {*np.ravel(grid).tolist(), *dense, *Uniform().candidates("test_0", 40, scheme).tolist(), *random}


def test_an_evaluation_of_stored_scores_follows_the_placement(placed):
    placement, _, folder = placed
    evaluation = read_evaluation(folder, [Random(), Uniform(), Dense()])
    assert evaluation.test["placement"] == placement
    assert {method.selection for method in evaluation.outcomes} == {"random", "uniform", "dense"}
    for outcome in evaluation.outcomes.values():
        right = outcome.probabilities.argmax(-1) == evaluation.targets.argmax(-1)
        assert right.mean() == pytest.approx(outcome.row["top1"])


@pytest.mark.parametrize("dataset", [(), ("dataset=needle",)])
def test_an_evaluation_takes_the_placement_of_the_training(placed, dataset):
    """Of another data set too, whose own configuration says ``starts``."""
    placement, runs, _ = placed
    given = EvaluationSettings.of(plain(composed_config(*dataset, "run_dir=x", name="evaluate")))
    assert given.completed_by(runs["dsn"].settings).dataset.reading.placement == placement


def test_runs_of_another_placement_are_refused(placed):
    placement, runs, _ = placed
    other = {"starts": "frames", "frames": "starts"}[placement]
    settings = composed(*OVERRIDES, f"{KEY}={other}")
    message = f"expected a run of {KEY}={other}, got {placement}"
    with pytest.raises(UsageError, match=message):
        check_fits(runs["baseline"], classes=CLASSES, settings=settings, key="baseline")
    with pytest.raises(UsageError, match=message):
        check_starts(runs["baseline"], settings, classes=CLASSES)
