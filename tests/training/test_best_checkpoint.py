"""Which epoch ``best.ckpt`` is of."""

from pathlib import Path

import pytest
from pytorch_lightning.callbacks import ModelCheckpoint

from conftest import NEEDLE
from dsn_lightning.cli.train_recipe import assemble
from dsn_lightning.cli.trainer_recipe import make_callbacks
from dsn_lightning.config.compose import settings_of
from dsn_lightning.tracking.loggers import Tracker
from helpers.dataset_files import fill, write_thumos14


@pytest.mark.parametrize(("dataset", "monitored"), [("needle", "val/top1"), ("thumos14", "val/map")])
def test_the_best_checkpoint_follows_the_metric_of_the_data_set(tmp_path: Path, needle_root, dataset, monitored):
    """THUMOS14's videos have several labels, so their top-1 is no number."""
    root = needle_root
    if dataset == "thumos14":
        root = write_thumos14(tmp_path)
        fill(settings_of("dataset=thumos14", f"dataset.root={root}", "run_dir=none").dataset)
    given = [f"dataset={dataset}", f"dataset.root={root}", f"run_dir={tmp_path / 'run'}", "test.enabled=false"]
    more = NEEDLE if dataset == "needle" else ["dataset.val_fraction=0.4"]
    settings = settings_of(*given, *more, "algorithm=baseline")
    parts = assemble(settings)
    assert parts.data.videos("val")
    (best,) = [one for one in make_callbacks(settings, parts.data, {}, Tracker()) if isinstance(one, ModelCheckpoint)]
    assert best.monitor == monitored
