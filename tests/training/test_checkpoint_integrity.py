"""A damaged checkpoint, or that of another run, is never gone on from; the one before takes its place."""

import os
import random
import re
import shutil
from pathlib import Path

import pytest
import torch

from conftest import NEEDLE, made_once
from dsn_lightning.backbones.weights import WeightsError, read_weights
from dsn_lightning.config.trained import RECORD_KEY
from dsn_lightning.files import keep_as
from dsn_lightning.runs.run_folder import RunFolder
from helpers.processes import call
from helpers.trained_runs import assert_same, state_of

SMALL = [
    *NEEDLE,
    "algorithm=baseline",
    "schedule.max_epochs=3",
    "schedule.batch_size=6",
    "M=1",
    "N=2",
    "trainer.check_val_every_n_epoch=9",
    "trainer.accelerator=cpu",
    "test.enabled=false",
]


@pytest.fixture(scope="module")
def trained(needle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of the same configuration, ``run`` and ``other``."""

    def make(root: Path) -> None:
        for name in ("run", "other"):
            call("dsn-train", f"dataset.root={needle_root}", *SMALL, f"hydra.run.dir={name}", cwd=root)

    return made_once(tmp_path_factory, "checkpoint_integrity", make)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> RunFolder:
    """A copy of the run, stopped before its end."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return RunFolder(tmp_path / "run")


def resumed(run: RunFolder, expect: int) -> str:
    done = call("dsn-train", f"resume={run.path}", cwd=run.path.parent, expect=expect)
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


@pytest.mark.parametrize("damage", [truncate, Path.unlink])
def test_the_checkpoint_before_takes_the_place_of_one_that_cannot_be_read(damage, run: RunFolder, trained: Path):
    damage(run.last_checkpoint)
    assert "last.ckpt: " in (said := resumed(run, 0))
    assert "goes on from previous.ckpt, which was written before it" in said
    assert_same(state_of(run.path)["state_dict"], state_of(trained / "run")["state_dict"])
    assert len(run.metrics_csv.read_text().splitlines()) == 4


@pytest.mark.parametrize("damage", [truncate, Path.unlink])
def test_without_one_before_nothing_starts_again(damage, run: RunFolder):
    damage(run.last_checkpoint)
    run.previous_checkpoint.unlink()
    said = resumed(run, 2)
    assert "although 3 epochs ended; put a copy of it back, or train again: the run's command with over" in said
    assert not run.previous_checkpoint.exists()


def test_both_are_named_where_neither_can_be_read(run: RunFolder):
    truncate(run.last_checkpoint)
    truncate(run.previous_checkpoint)
    assert "previous.ckpt: " in resumed(run, 2)


def test_a_checkpoint_of_another_run_is_refused(run: RunFolder, trained: Path):
    shutil.copy(RunFolder(trained / "other").last_checkpoint, run.last_checkpoint)
    expected = run.run_id.read_text().strip()
    assert f"last.ckpt: expected a checkpoint of run {expected}, got " in resumed(run, 2)


STATES = {
    "optimizers": {"optimizer_states": ["x"]},
    "callbacks": {"callbacks": "x"},
    "loops": {"loops": [1]},
    "version": {"pytorch-lightning_version": "x; import os"},
    "record": {RECORD_KEY: "x"},
    "videos": {RECORD_KEY: {"trained_on": "x"}},
}


@pytest.mark.parametrize("content", STATES.values(), ids=STATES)
def test_a_state_that_cannot_be_restored_is_refused_in_one_line(content, run: RunFolder):
    found = torch.load(run.last_checkpoint, weights_only=True)
    for key, value in content.items():
        found[key] = found[key] | value if isinstance(value, dict) else value
    torch.save(found, run.last_checkpoint)
    assert re.search(r"dsn-train: error: resume=\S+: last.ckpt: .*(restored|not a checkpoint)", resumed(run, 2))


def test_a_checkpoint_of_another_configuration_is_refused(run: RunFolder):
    run.config_yaml.write_text(run.config_yaml.read_text().replace("momentum: 0.9", "momentum: 0.5"))
    assert "last.ckpt: its configuration is not that of config.yaml; put back the files of one run" in resumed(run, 2)


def test_a_killed_run_is_not_started_again_by_the_same_command(needle_root: Path, run: RunFolder):
    run.status_json.write_text(run.status_json.read_text().replace('"finished"', '"running"'))
    before = run.last_checkpoint.read_bytes()
    for damage in (lambda: None, run.last_checkpoint.unlink, run.previous_checkpoint.unlink):
        damage()
        done = call(
            "dsn-train", f"dataset.root={needle_root}", *SMALL, "hydra.run.dir=run", cwd=run.path.parent, expect=2
        )
        assert "already holds a run (killed); resume=" in done.stderr
        if run.last_checkpoint.exists():
            assert run.last_checkpoint.read_bytes() == before


def test_no_flipped_bit_changes_what_is_loaded(trained: Path, tmp_path: Path):
    file, flipped = RunFolder(trained / "run").last_checkpoint, tmp_path / "flipped.ckpt"
    content, original = file.read_bytes(), read_weights(file)
    draws = random.Random(0)
    refused = 0
    ends = range(8 * (len(content) - 6000), 8 * len(content))  # names and sums of the records
    for bit in [*draws.sample(range(8 * len(content)), 200), *draws.sample(ends, 100)]:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        flipped.write_bytes(changed)
        try:
            assert_same(read_weights(flipped), original)
        except WeightsError:
            refused += 1
    assert refused > 150


@pytest.mark.parametrize("change", ["trailing bytes", "a record twice", "a tensor changed"])
def test_an_archive_that_is_not_as_it_was_written_is_refused(change: str, tmp_path: Path):
    file = tmp_path / "weights.pth"
    torch.save({"weight": torch.arange(8.0)}, file)
    content = file.read_bytes()
    if change == "trailing bytes":
        file.write_bytes(content + b"more")
    elif change == "a record twice":
        file.write_bytes(content.replace(b"weights/byteorder", b"weights/version\0\0"))
    else:
        file.write_bytes(content.replace(torch.arange(8.0).numpy().tobytes(), torch.ones(8).numpy().tobytes()))
    assert file.read_bytes() != content
    with pytest.raises(WeightsError):
        read_weights(file)


def test_a_file_may_be_kept_as_one_that_it_already_is(tmp_path: Path):
    file, other = tmp_path / "last", tmp_path / "previous"
    file.write_text("1")
    keep_as(file, other)
    keep_as(file, other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "previous"]
