"""SIGKILL at random moments: the same command, or its resume, ends with the bytes of one that was never killed."""

import json
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import made_once
from helpers.fault_fixtures import SET, TRAINING, Attempt
from helpers.faults import kill_at, partial_files
from helpers.processes import call
from helpers.small_videos import tree
from helpers.trained_runs import assert_same_run

NUM_KILLS = int(os.environ.get("DSN_KILLS", "20"))
"""How many tests kill a command, some of them twice."""
COMMANDS = ("dsn-train",) * 6 + ("dsn-evaluate", "dsn-prepare", "sweep", "two processes")
"""What is killed in turn."""
SWEEP = ["-m", "gamma=0,1", "sweep.jobs=2", "hydra.sweep.dir=sweep"]


def arguments_of(what: str, root: Path, reference: Path) -> list[str]:
    data = f"dataset.root={root}"
    return {
        "dsn-train": [data, *TRAINING, "hydra.run.dir=run"],
        "two processes": [data, *TRAINING, "trainer.devices=2", "hydra.run.dir=run"],
        "sweep": [*SWEEP, data, *TRAINING],
        "dsn-evaluate": [f"checkpoint={reference}/dsn-train/run/checkpoints/last.ckpt", "test.figures=false",
                         "hydra.run.dir=evaluated"],
        "dsn-prepare": ["dataset=needle", data, *SET, "output=prepared", "steps=[check,transcode]", "jobs=2"],
    }[what]  # fmt: skip


def command_of(what: str) -> str:
    return what if what.startswith("dsn-") else "dsn-train"


@pytest.fixture(scope="session")
def reference(needle_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each command's output in a folder of its own, with the seconds that it took; never killed."""

    def make(folder: Path) -> None:
        for what in dict.fromkeys(COMMANDS):
            (folder / what).mkdir()
            began = time.monotonic()
            call(command_of(what), *arguments_of(what, needle_set, folder), cwd=folder / what)
            (folder / what / "seconds").write_text(str(time.monotonic() - began))

    return made_once(tmp_path_factory, "never_killed", make)


def again(what: str, arguments: list[str], folder: Path, rng: random.Random) -> list[str]:
    """What a user types after a kill: resume what can be, or else the same again."""
    if what == "sweep":
        started = (folder / "sweep" / "sweep.json").is_file()
        return ["sweep.resume=sweep", "sweep.jobs=2"] if started else [*arguments, "overwrite=true"]
    if what == "dsn-prepare":
        return arguments
    if what != "dsn-evaluate" and (folder / "run" / "config.yaml").is_file():
        return ["resume=run", f"num_workers={rng.randrange(2)}"]
    return [*arguments, "overwrite=true"]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows = json.loads((folder / "results.json").read_text())
    return [{name: value for name, value in row.items() if name != "seconds_per_video"} for row in rows]


def assert_same_evaluation(ours: Path, theirs: Path) -> None:
    assert rows_of(ours) == rows_of(theirs)
    with np.load(ours / "clip_scores.npz") as a, np.load(theirs / "clip_scores.npz") as b:
        assert a.files == b.files
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])


def assert_same_training(ours: Path, theirs: Path) -> None:
    assert_same_run(ours, theirs)
    assert_same_evaluation(ours, theirs)


def assert_same_output(what: str, ours: Path, theirs: Path) -> None:
    if what == "dsn-prepare":
        assert tree(ours / "prepared") == tree(theirs / "prepared")
    elif what == "dsn-evaluate":
        assert_same_evaluation(ours / "evaluated", theirs / "evaluated")
    else:
        for run in ("sweep/0", "sweep/1") if what == "sweep" else ("run",):
            assert_same_training(ours / run, theirs / run)


@pytest.mark.faults
@pytest.mark.parametrize("number", range(NUM_KILLS))
def test_a_killed_command_ends_with_the_same_bytes(number, needle_set, reference, attempt: Attempt, tmp_path):
    rng, what = random.Random(number), COMMANDS[number % len(COMMANDS)]
    seconds = float((reference / what / "seconds").read_text())
    arguments = arguments_of(what, needle_set, reference)
    given = arguments
    with attempt(f"killed: {what}") as kills:
        for _ in range(1 + number // len(COMMANDS) % 2):
            within = seconds
            while not kill_at(command_of(what), given, tmp_path, within=within, rng=rng):
                within /= 2  # it ended first: begin anew
                shutil.rmtree(tmp_path)
                tmp_path.mkdir()
                given = arguments
            kills.append(given)
            given = again(what, arguments, tmp_path, rng)
        call(command_of(what), *given, cwd=tmp_path)
        assert_same_output(what, tmp_path, reference / what)
        assert partial_files(tmp_path) == []
