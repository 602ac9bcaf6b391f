"""The settings of a training: every shipped configuration is accepted, and what makes no sense is not."""

from pathlib import Path

import pytest

from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.settings import seconds_of
from dsn_lightning.errors import UsageError

CONF = Path(__file__).resolve().parents[2] / "conf"
EXPERIMENTS = sorted(
    file.relative_to(CONF / "experiment").with_suffix("").as_posix() for file in CONF.glob("experiment/*/*.yaml")
)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_has_valid_settings(experiment):
    settings = settings_of(f"experiment={experiment}", "dataset=hmdb51", "run_dir=x")
    assert settings.plain["algorithm"]["name"] == settings.algorithm.name
    assert settings.algorithm.has_sampler == (settings.algorithm.name != "baseline")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("M=0", "M=0: must be a whole number of at least 1"),
        ("N=1.5", "N=1.5: must be a whole number of at least 1"),
        (
            "N=1",
            "N=1: algorithm=dsn selects one of N clips, so there is nothing to select; use N of at least 2",
        ),
        ("gamma=-1", "gamma=-1: is a penalty and must be a number of at least 0"),
        ("seed=-1", "seed=-1: must be a whole number of at least 0"),
        ("num_workers=-1", "num_workers=-1: must be a whole number of at least 0, or auto"),
        ("test.M=[1,0]", r"test.M=\[1,0\]: must be a whole number of at least 1, or a list of them"),
        ("test.bootstrap=50", "test.bootstrap=50: must be 0 .no intervals. or a whole number of at least 100"),
        ("test.figures=1", "test.figures=1: must be true or false"),
        ("test.subset=train", "test.subset=train: must be test or val"),
        ("test.crops=2", "test.crops=2: must be 1 .the centre. or 3"),
        ("dataset.modality=depth", "dataset.modality=depth: must be rgb or flow"),
        ("dataset.fps=0", "dataset.fps=0: must be a number above 0"),
        ("schedule.lr=0", "schedule.lr=0: must be a number above 0"),
        ("schedule.momentum=-1", "schedule.momentum=-1: must be a number of at least 0"),
        ("schedule.ema=1.0", "schedule.ema=1.0: must be a decay between 0 and 1, such as 0.99"),
        ("schedule.batch_norm=off", "schedule.batch_norm="),
        ("checkpoint.every_n_batches=0", "checkpoint.every_n_batches=0: must be a whole number of at least 1"),
        ("backbone.flow_std=[0,1]", r"backbone.flow_std=\[0,1\]: must be two positive numbers"),
        ("backbone.frame_stride=0", "backbone.frame_stride=0: must be a whole number of at least 1"),
        (
            "+backbone.classes=3",
            "backbone.classes=3: must be a list of class names, or a text file with a name on each",
        ),
        ("+algorithm.rewards=never", "algorithm.rewards=never: must be computed or stored"),
        ("dataset.reading.max_bad=2", "dataset.reading.max_bad=2: must lie between 0 and 1"),
        ("dataset.reading.on_bad_video=stop", "dataset.reading.on_bad_video=stop: must be skip or raise"),
        ("+trainer.max_steps=5", "trainer.max_steps=5: does not work in manual optimisation; it would count both"),
        ("+trainer.gradient_clip_val=1", "trainer.gradient_clip_val=1: does not work in manual optimisation; use"),
        ("trainer.num_nodes=0", "trainer.num_nodes=0: must be a whole number of at least 1"),
        ("algorithm.warmup_epochs=24", "algorithm.warmup_epochs=24: must be at least 0 and less than schedule.max_ep"),
        ("algorithm.exploration=-0.1", "algorithm.exploration=-0.1: must be a number of at least 0"),
        ("gamma=inf", "^gamma=inf: must be a finite number"),
        ("gamma=nan", "gamma=nan: is a penalty and must be a number of at least 0"),
        ("algorithm.exploration=inf", "^algorithm.exploration=inf: must be a finite number"),
        ("schedule.lr=inf", "schedule.lr=inf: must be a finite number"),
        ("schedule.weight_decay=1e999", "schedule.weight_decay=inf: must be a finite number"),
        ("schedule.rule.warmup_epochs=nan", "schedule.rule.warmup_epochs=nan: must be a finite number"),
        ("backbone.mean=[0.5,nan,0.5]", "backbone.mean=nan: must be a finite number"),
        ("dataset.reading.decoder.deadline=nan", "dataset.reading.decoder.deadline=nan: must be a finite number"),
        ("start_workers=threads", "start_workers=threads: must be fork, spawn, forkserver or thread"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_remedy(override, message):
    with pytest.raises(UsageError, match=message):
        settings_of(override, "run_dir=x")


def test_a_deadline_may_be_infinite():
    assert settings_of("dataset.reading.decoder.deadline=inf", "run_dir=x").dataset.reading.decoder["deadline"] > 1e9


def test_fp16_is_refused_with_accumulated_batches():
    with pytest.raises(UsageError, match=r"trainer\.precision=16-mixed: its loss scale may change"):
        settings_of("trainer.precision=16-mixed", "schedule.accumulate=2", "run_dir=x")


def test_the_control_of_table_1_warms_up_to_the_end():
    with pytest.raises(UsageError, match=r"algorithm\.train_sampler=false: algorithm\.warmup_epochs=3 must then be"):
        settings_of("+algorithm.train_sampler=false", "algorithm.warmup_epochs=3", "run_dir=x")


def test_changed_settings_are_checked_and_leave_the_others_alone():
    settings = settings_of("run_dir=x")
    changed = settings.changed({"test.baseline": "a.ckpt", "seed": 3})
    assert (changed.seed, changed.test.networks, settings.seed) == (3, {"baseline": "a.ckpt"}, 0)
    assert settings.plain["test"]["baseline"] is None
    with pytest.raises(UsageError, match="seed=-3"):
        settings.changed({"seed": -3})


def test_held_out_videos_have_a_name_of_their_own_in_results():
    assert settings_of("run_dir=x", "test.subset=val").dataset_in_results == "needle_held_out"
    assert settings_of("run_dir=x").dataset_in_results == "needle"


def test_observation_network_takes_the_classifiers_weights_where_they_fit():
    same = settings_of("backbone=mobilenet_v2", "weights=imagenet", "run_dir=x")
    other = settings_of("backbone=r3d_18", "weights=kinetics400", "observation=mobilenet_v2", "run_dir=x")
    assert (same.observation_weights, other.observation_weights) == ("imagenet", None)


@pytest.mark.parametrize(
    ("duration", "seconds"), [("00:01:30:00", 5400), ("01:00:00:01", 86401), ({"hours": 2, "minutes": 1}, 7260)]
)
def test_durations_are_those_of_lightning(duration, seconds):
    assert seconds_of(duration) == seconds


@pytest.mark.parametrize("duration", ["1:30", "soon", {"hors": 1}, 5, {"hours": float("inf")}])
def test_other_durations_are_refused(duration):
    with pytest.raises(UsageError, match=r"trainer\.max_time=.*: must be DD:HH:MM:SS"):
        seconds_of(duration)
