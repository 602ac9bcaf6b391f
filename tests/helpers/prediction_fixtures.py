"""A small trained DSN and its test videos."""

from pathlib import Path

import pytest

from conftest import NEEDLE, made_once
from dsn_lightning.datasets.needle import Needle
from dsn_lightning.evaluation.scores import ClipScores
from helpers.processes import call


@pytest.fixture(scope="session")
def dsn_run(needle_root, tmp_path_factory) -> Path:
    """A DSN of 2:2, trained for two epochs and tested."""

    def make(folder: Path) -> None:
        call("dsn-train", f"dataset.root={needle_root}", *NEEDLE, "schedule.max_epochs=2", "schedule.batch_size=4",
             "algorithm.warmup_epochs=0", "trainer.accelerator=cpu", "test.random_draws=2", "test.figures=false", "M=2",
             "N=2", "hydra.run.dir=run", cwd=folder)  # fmt: skip

    return made_once(tmp_path_factory, "run_to_predict_with", make) / "run"


@pytest.fixture(scope="session")
def dsn_videos(needle_root, dsn_run) -> list[str]:
    """The test videos, in the order of the evaluation."""
    source = Needle(str(needle_root), num_train=12, num_val=6, num_test=6)
    paths = {record.video_id: str(record.path) for record in source.records("test")}
    return [paths[str(video_id)] for video_id in ClipScores.load(dsn_run / "clip_scores.npz").video_id]
