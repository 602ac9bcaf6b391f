"""When two trainings are the same: by what their weights depend on."""

import json

import pytest

from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.shared_trainings import shared_settings
from reproduce.configurations import training_fingerprint


@pytest.fixture(scope="module")
def dsn() -> Settings:
    return settings_of("experiment=table1/dsn", "dataset.root=a", "observation.checkpoint=null", "run_dir=none")


def digest(settings: Settings, key: str, value: object) -> str:
    return training_fingerprint(settings.changed({key: value}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_workers", 3),
        ("logger", {}),
        ("trainer.accelerator", "cpu"),
        ("test.M", 4),
        ("start_workers", "fork"),
        ("shared.folder", "x"),
        ("test.crops", 3),
        ("trainer.max_time", "00:01:00:00"),
        ("dataset.root", "./a"),
        ("run_dir", "elsewhere"),
        ("progress", True),
        ("dataset.reading.dense_clips", 5),
        ("backbone.flow_std", [0.1, 0.1]),
        ("test.subset", "val"),
        ("algorithm.recompute", True),
        ("backbone.network.checkpoint_activations", True),
        ("algorithm.module.recompute", True),
    ],
)
def test_settings_that_do_not_touch_the_weights_do_not_count(dsn, key, value):
    assert digest(dsn, key, value) == training_fingerprint(dsn)


def test_settings_that_change_the_weights_count(dsn):
    others = {
        "M": 4,
        "N": 4,
        "gamma": 1,
        "seed": 1,
        "schedule.lr": 0.1,
        "schedule.sampler_lr": 0.1,
        "dataset.root": "b",
        "dataset.split": 2,
        "estimator._target_": "another",
        "observation.network.trunk.num_frames": 1,
        "algorithm.exploration": 0.1,
        "weights": None,
        "callbacks": {"early_stopping": {"_target_": "pytorch_lightning.callbacks.EarlyStopping"}},
        "observation.checkpoint": "x.ckpt",
        "classifier.checkpoint": "x.ckpt",
        "trainer.precision": "bf16-mixed",
    }
    found = {training_fingerprint(dsn), *(digest(dsn, key, value) for key, value in others.items())}
    assert len(found) == len(others) + 1


def test_the_epoch_that_a_training_starts_from_counts(dsn, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text(json.dumps(dsn.plain))
    starts = [str(tmp_path / "run" / "checkpoints" / name) for name in ("last.ckpt", "best.ckpt", "epoch_3.ckpt")]
    assert len({digest(dsn, "classifier.checkpoint", start) for start in starts}) == 3


def test_each_modality_depends_on_its_own_normalisation(dsn):
    flow = dsn.changed({"dataset.modality": "flow"})
    assert training_fingerprint(flow) == digest(flow, "backbone.mean", [0.1, 0.1, 0.1])
    assert (
        len({training_fingerprint(dsn), training_fingerprint(flow), digest(flow, "backbone.flow_std", [0.1, 0.1])}) == 3
    )


def test_settings_of_a_sampler_that_is_never_trained_do_not_count():
    rows = [
        settings_of("experiment=table1/control", "dataset=hmdb51", "dataset.root=a", "run_dir=none", *others)
        for others in ([], ["gamma=1", "observation=r2d_tiny_shared"], ["schedule.lr=0.1"])
    ]
    digests = [training_fingerprint(row) for row in rows]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("role", ["baseline", "max_response"])
def test_auto_depends_on_sections_and_not_on_gamma_or_candidates(role):
    folders = [
        shared_settings(settings_of("dataset.root=a", "run_dir=none", *others), role).run_dir
        for others in (["M=2"], ["M=3"], ["M=2", "gamma=1", "N=2"])
    ]
    assert folders[0] == folders[2] != folders[1]
