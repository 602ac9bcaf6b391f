"""Shared fixtures: small networks, a tiny needle set, a folder of videos."""

import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import nn

from dsn_lightning.datasets.needle import Needle
from helpers.processes import call

pytest_plugins = ["helpers.fault_fixtures", "helpers.report_fixtures", "helpers.prediction_fixtures"]

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start, too


LONG = (
    "test_sweep",
    "test_sweep_to_its_end",
    "test_processes",
    "test_resume",
    "test_prepared_training",
    "test_bad_videos",
    "test_preparation",
    "test_weight_average",
    "test_frozen_features",
    "test_tables",
    "test_every_dataset",
    "test_page_tables",
)
"""Files that take longest; begun first, they do not keep one of two workers busy when the other has ended."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def write_video(path: Path, frames: np.ndarray, *, fps: int = 25) -> None:
    """Write (F, H, W, 3) losslessly enough to tell frames apart."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "1"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, fps)
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def grey_ramp(num_frames: int, side: int = 34) -> np.ndarray:
    """Frames whose brightness tells their number: 10 + 2 * i."""
    values = (10 + 2 * np.arange(num_frames)).astype(np.uint8)
    return np.broadcast_to(values[:, None, None, None], (num_frames, side, side, 3)).copy()


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that ``make`` has filled, once for all of pytest-xdist's workers; nobody writes in it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def needle_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A needle set of 12 + 6 + 6 videos; its settings are `NEEDLE`."""
    return made_once(
        tmp_path_factory, "needle", lambda root: Needle(str(root), num_train=12, num_val=6, num_test=6).prepare()
    )


NEEDLE = ["dataset.num_train=12", "dataset.num_val=6", "dataset.num_test=6"]


@pytest.fixture(scope="session")
def small_sweep(needle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of four jobs: two seeds that end well with results, and two that fail on gamma=-1."""

    def make(root: Path) -> None:
        call("dsn-train", "-m", f"dataset.root={needle_root}", *NEEDLE, "schedule.max_epochs=2",
             "schedule.batch_size=4", "algorithm.warmup_epochs=0", "trainer.check_val_every_n_epoch=1",
             "trainer.accelerator=cpu", "test.random_draws=2", "test.figures=false", "M=2", "N=2", "gamma=0.5,-1",
             "seed=0,1", "sweep.jobs=2", "hydra.sweep.dir=sweep", cwd=root, expect=1)  # fmt: skip

    return made_once(tmp_path_factory, "small_sweep", make) / "sweep"


@pytest.fixture(scope="session")
def logged_sweep(needle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two seeds that W&B has logged off-line."""

    def make(root: Path) -> None:
        call("dsn-train", "-m", f"dataset.root={needle_root}", *NEEDLE, "schedule.max_epochs=1",
             "schedule.batch_size=4", "algorithm.warmup_epochs=0", "trainer.check_val_every_n_epoch=1",
             "trainer.accelerator=cpu", "test.random_draws=2", "test.figures=false", "M=2", "N=2", "seed=0,1",
             "logger=wandb", "logger.wandb.mode=offline", "sweep.jobs=2", "hydra.sweep.dir='M=2'",
             cwd=root)  # fmt: skip

    return made_once(tmp_path_factory, "logged_sweep", make) / "M=2"


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, four persons, one video each."""
    root = tmp_path_factory.mktemp("folders")
    for c, name in enumerate(("walk", "run")):
        (root / name).mkdir()
        for p, person in enumerate(("ann", "bob", "cem", "dee")):
            write_video(root / name / f"{person}_{name}.mp4", grey_ramp(20 + 4 * p + c))
    return root


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real videos, if this machine has one."""
    place = os.environ.get("DSN_REAL_DATA")
    if not place:
        pytest.skip("DSN_REAL_DATA is not set: no real videos to test with")
    return Path(place)


class MeanClassifier(nn.Module):
    """A real, if very small, clip network: one layer on the clip's mean colour."""

    head = "fc"
    stacked_frames = 1
    frozen_blocks = 0

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = self.num_features = in_channels
        self.fc = nn.Linear(in_channels, num_classes) if num_classes else nn.Identity()

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.fc(clips.mean((2, 3, 4)))
