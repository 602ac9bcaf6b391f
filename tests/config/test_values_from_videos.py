"""Settings that are ``auto``, and the recipe that a data set's YAML names."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from conftest import grey_ramp, write_video
from dsn_lightning.config.compose import _compose, compose_anew, config_folder, plain
from dsn_lightning.config.recipes import choose_recipe
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.values_from_videos import num_epochs, num_sections, with_values_from_videos
from dsn_lightning.errors import UsageError


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of four videos at 10 frames per second: three of 36 frames and one of 9 in each."""
    root = tmp_path_factory.mktemp("lengths")
    for name in ("walk", "run"):
        (root / name).mkdir()
        for i, length in enumerate((36, 36, 36, 9)):
            write_video(root / name / f"{i}.mp4", grey_ramp(length), fps=10)
    return root


def chosen(videos: Path, *overrides: str) -> Settings:
    arguments = choose_recipe(["dataset=folder", f"dataset.root={videos}", "run_dir=x", *overrides])
    return Settings.of(plain(with_values_from_videos(compose_anew("train", *arguments))))


def test_what_is_auto_comes_from_the_training_videos(videos, capsys):
    settings = chosen(videos, "dataset.seed=1", "dataset.test_fraction=0.25")
    assert (settings.M, settings.N, settings.test.M) == (4, 3, (4,))  # a clip has 0.8 s, most videos 3.6 s
    assert settings.schedule.max_epochs == 60  # one batch an epoch
    assert settings.algorithm.warmup_epochs == 20
    assert settings.schedule.rule["warmup_epochs"] == 6
    assert settings.schedule.rule["max_epochs"] == settings.schedule.sampler_rule["max_epochs"] == 60
    assert (settings.weights, settings.observation_weights) == ("imagenet", "imagenet")
    assert settings.backbone.name == "mobilenet_v2"
    assert settings.observation.checkpoint == "auto"
    assert settings.dataset.reading.flip == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2].startswith("M=4: the median training video has 3.6 s, a clip 0.8 s")
    assert printed[-1] == "schedule.max_epochs=60: 60 steps of 8 of the 6 training videos"


def test_a_job_of_a_sweep_has_them_too(videos):
    """Its configuration has Hydra's own part, and its folder is not known yet."""
    arguments = ["dataset=folder", f"dataset.root={videos}", "dataset.seed=1", "dataset.test_fraction=0.25"]
    arguments.append("schedule.max_epochs=auto")
    cfg = _compose(config_folder(), (), "train", tuple(arguments), return_hydra_config=True)
    assert "hydra" in cfg
    assert with_values_from_videos(cfg).schedule.max_epochs == 60


def test_candidates_that_coincide_are_said(videos, capsys):
    chosen(videos, "dataset.seed=1", "dataset.test_fraction=0.25", "N=4")
    said = "of 6 videos some of the 16 candidate clips (4:4) coincide, so there is little to select"
    assert said in capsys.readouterr().out


def test_what_is_given_stays(videos, capsys):
    given = ("M=2", "schedule.max_epochs=1", "weights=null", "observation.weights=null", "schedule.lr=0.5")
    settings = chosen(videos, *given, "observation.checkpoint=null", "backbone.network.frozen_blocks=0",
                      "backbone.cache_activations=false")  # fmt: skip
    assert (settings.M, settings.schedule.max_epochs, settings.weights, settings.schedule.lr) == (2, 1, None, 0.5)
    assert (settings.observation_weights, settings.algorithm.warmup_epochs) == (None, 0)
    assert "M=" not in capsys.readouterr().out


def test_another_backbone_starts_from_its_own_public_weights(videos):
    settings = chosen(videos, "M=2", "schedule.max_epochs=2", "backbone=r3d_18")
    assert (settings.backbone.name, settings.weights, settings.observation_weights) == (
        "r3d_18",
        "kinetics400",
        "imagenet",
    )
    assert chosen(videos, "M=2", "schedule.max_epochs=2", "backbone=r3d_tiny").weights is None


def test_what_is_wrong_with_the_videos_is_said(tmp_path):
    (tmp_path / "walk").mkdir()
    with pytest.raises(UsageError, match="needs at least two class folders, got 1"):
        chosen(tmp_path)


def test_recipes_are_named_by_the_yaml_of_a_data_set(tmp_path):
    assert choose_recipe(["dataset=folder", "--cfg", "job"]) == ["dataset=folder", "recipe=own_videos", "--cfg", "job"]
    for given in (["dataset=needle"], ["M=3"], ["dataset=unknown"]):
        assert choose_recipe(given) == given
    for chosen_otherwise in ("recipe=none", "experiment=demo/dsn", "+experiment=demo/dsn"):
        assert choose_recipe(["dataset=folder", chosen_otherwise]) == ["dataset=folder", chosen_otherwise]
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("name: mine\nrecipe: own_videos\n")
    for flags in ([f"--config-dir={tmp_path}"], ["--config-dir", str(tmp_path)]):
        assert choose_recipe([*flags, "dataset=mine"]) == [*flags, "dataset=mine", "recipe=own_videos"]


@pytest.mark.parametrize("videos_per_batch", [1, 8, 64])
def test_a_training_has_about_300_steps_within_its_range_of_epochs(videos_per_batch):
    for count in (2, 50, 333, 5000):
        epochs = num_epochs(count, videos_per_batch)
        steps = epochs * -(-count // videos_per_batch)
        assert 6 <= epochs <= 60
        assert epochs in (6, 60) or 300 <= steps < 300 + -(-count // videos_per_batch)


def test_sections_follow_the_length():
    assert [num_sections(frames, 8) for frames in (1, 11, 12, 13, 20, 24, 1000)] == [1, 1, 2, 2, 2, 3, 6]


def test_the_configuration_of_an_application_is_not_changed(videos):
    cfg = compose_anew("train", *choose_recipe(["dataset=folder", f"dataset.root={videos}", "run_dir=x"]))
    with_values_from_videos(cfg)
    assert (cfg.M, cfg.schedule.max_epochs, cfg.weights) == ("auto", "auto", "auto")
    assert OmegaConf.is_struct(cfg)
