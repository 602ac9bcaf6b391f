"""A training of NaN ends with one line and without results, or leaves such steps out and says how many."""

import json
import re
from pathlib import Path

import pytest

from conftest import NEEDLE
from helpers.processes import call
from helpers.trained_runs import metrics_of

DIVERGES = [
    *NEEDLE,
    "schedule.lr=1e6",
    "schedule.max_epochs=3",
    "schedule.batch_size=4",
    "M=2",
    "N=2",
    "schedule.gradient_clip=null",
    "algorithm=baseline",
    "trainer.accelerator=cpu",
    "test.figures=false",
    "test.bootstrap=0",
    "hydra.run.dir=run",
]


@pytest.mark.parametrize("devices", [1, 2])
def test_a_training_that_diverges_ends_with_one_line(devices: int, needle_root: Path, tmp_path: Path):
    done = call(
        "dsn-train", f"dataset.root={needle_root}", *DIVERGES, f"trainer.devices={devices}", cwd=tmp_path, expect=2
    )
    line = done.stderr.strip().splitlines()[-1]
    assert re.match(r"dsn-train: error: epoch \d, batch \d: the classifier's (loss|gradient) is not finite \(vid", line)
    assert line.count("train_") == 4  # the videos of all processes
    assert "lower schedule.lr or schedule.gradient_clip" in line
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("failed", 2)
    assert f"dsn-train: error: {status['error']}" == line
    assert not (tmp_path / "run" / "results.json").exists()


@pytest.mark.parametrize("devices", [1, 2])
def test_steps_that_are_left_out_are_counted(devices: int, needle_root: Path, tmp_path: Path):
    call("dsn-train", f"dataset.root={needle_root}", *DIVERGES, "schedule.on_nonfinite=skip", "test.enabled=false",
         "trainer.check_val_every_n_epoch=9", f"trainer.devices={devices}", cwd=tmp_path)  # fmt: skip
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    last = float(metrics_of(tmp_path / "run")[-1]["train/classifier_skipped_steps"])
    assert status["skipped_steps"] == {"classifier": last}
    assert 0 < last < 9
