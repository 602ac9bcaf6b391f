"""Where files go follows from the command line, never from a checkpoint."""

from pathlib import Path

import pytest

from dsn_lightning.cli.evaluate_recipe import check_stored_places
from dsn_lightning.config.build_part import build_source
from dsn_lightning.config.compose import compose_anew, plain, settings_of
from dsn_lightning.config.evaluation_settings import EvaluationSettings
from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.video_index import INDEX


def check(stored: list[str], *given: str) -> None:
    """Check an evaluation with these arguments of a training with those."""
    evaluation = EvaluationSettings.of(plain(compose_anew("evaluate", "checkpoint=a.ckpt", "run_dir=none", *given)))
    settings = evaluation.completed_by(settings_of("dataset=needle", "run_dir=none", *stored))
    check_stored_places(evaluation, settings, build_source(settings.dataset), where="a.ckpt")


def test_a_checkpoint_makes_no_index_elsewhere(tmp_path: Path, needle_root: Path):
    stored = [f"dataset.root={tmp_path}", f"dataset.reading.prepared={tmp_path / 'prepared'}"]
    root = f"dataset.root={tmp_path}"
    with pytest.raises(UsageError, match=r"a\.ckpt: dataset\.reading\.prepared=.* holds no index"):
        check(stored, root)
    check(stored, root, f"dataset.reading.prepared={tmp_path / 'prepared'}")
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / INDEX).touch()
    check(stored, root)


def test_a_checkpoint_makes_no_data_set_elsewhere(tmp_path: Path):
    with pytest.raises(UsageError, match=r"a\.ckpt: dataset\.root=.* does not hold the data set; give dataset\.root"):
        check([f"dataset.root={tmp_path}"])
    with pytest.raises(UsageError, match="does not hold the data set"):
        check(["dataset.root=../elsewhere"])
    check([f"dataset.root={tmp_path}"], f"dataset.root={tmp_path}")
    check(["dataset.root=data/needle"])  # below the working folder
    build_source(settings_of("dataset=needle", "run_dir=none", f"dataset.root={tmp_path}").dataset).root.mkdir()
    check([f"dataset.root={tmp_path}"])


def test_the_home_is_not_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"dataset\.root=~/x does not hold the data set"):
        check(["dataset.root='~/x'"])
    with pytest.raises(UsageError, match=r"dataset\.reading\.prepared=~/x holds no index"):
        check(["dataset.root=data/needle", "dataset.reading.prepared='~/x'"])
    check(["dataset.root='~/x'"], "dataset.root='~/x'")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / INDEX).touch()
    check(["dataset.root=data/needle", "dataset.reading.prepared='~/x'"])


@pytest.mark.parametrize("name", ["../../x", "/x", "a/b", ".."])
def test_the_name_of_a_data_set_is_no_path(tmp_path: Path, name: str):
    settings = settings_of("dataset=needle", "run_dir=none", f"dataset.root={tmp_path}", f"dataset.name={name}")
    with pytest.raises(UsageError, match="expected name to be a string without a slash"):
        build_source(settings.dataset)
