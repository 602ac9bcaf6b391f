"""What `seed` promises on the CPU: the same command gives the same bytes, however its videos are loaded."""

from pathlib import Path

import pytest

from helpers.fault_fixtures import TRAINING
from helpers.processes import call
from helpers.trained_runs import assert_same_run, metrics_of


@pytest.fixture(scope="module")
def first(needle_set: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run, and the arguments that gave it."""
    root = tmp_path_factory.mktemp("first")
    arguments = [f"dataset.root={needle_set}", *TRAINING, "test.enabled=false", "hydra.run.dir=run"]
    call("dsn-train", *arguments, cwd=root)
    return root / "run", arguments


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["num_workers=2"],
        ["num_workers=2", "start_workers=thread"],
        ["+trainer.deterministic=true"],
        ["dataset.reading.cache_frames=false"],
        ["dataset.reading.crop_on_device=true"],
        pytest.param(["num_workers=1", "start_workers=spawn"], marks=pytest.mark.slow),
    ],
    ids=["again", "two workers", "two threads", "deterministic", "no cache", "cropped on the device", "spawned worker"],
)
def test_the_same_seed_gives_the_same_weights(more, first, tmp_path):
    run, arguments = first
    call("dsn-train", *arguments, *more, cwd=tmp_path)
    assert_same_run(tmp_path / "run", run)


def test_another_seed_gives_another_run(first, tmp_path):
    run, arguments = first
    call("dsn-train", *arguments, "seed=1", cwd=tmp_path)
    assert metrics_of(tmp_path / "run") != metrics_of(run)


@pytest.mark.slow
def test_two_processes_give_the_same_weights_each_time(first, tmp_path):
    _, arguments = first
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        call("dsn-train", *arguments, "trainer.devices=2", cwd=tmp_path / place)
    assert_same_run(tmp_path / "a" / "run", tmp_path / "b" / "run")
