"""On-line W&B runs, against a stand-in for its server."""

import csv
from pathlib import Path

import pytest

from conftest import NEEDLE
from helpers.processes import call
from helpers.wandb_server import StandInServer, stand_in_server

TINY = [
    "schedule.max_epochs=14", "schedule.batch_size=4", "M=2", "N=2", "trainer.check_val_every_n_epoch=1",
    "algorithm.warmup_epochs=0", "trainer.accelerator=cpu", "test.random_draws=3", "test.figures=false", "logger=wandb",
]  # fmt: skip
AXES = dict.fromkeys(("epoch", "trainer/global_step"))
EPOCHS = dict.fromkeys(("train/*", "val/*", "time/*", "gradients/*", "parameters/*"), "epoch")
TESTS = dict.fromkeys(("test/*", "held_out/*"), "trainer/global_step")


@pytest.fixture
def server():
    with stand_in_server() as running:
        yield running


def test_a_run_that_stops_twice_is_one_run_with_all_its_epochs(server: StandInServer, needle_root, tmp_path: Path):
    run, at_once = tmp_path / "run", "trainer.max_time=00:00:00:00"
    calls = [
        [f"dataset.root={needle_root}", *NEEDLE, *TINY, at_once, "hydra.run.dir=run"],
        ["resume=run", at_once],
        ["resume=run", "trainer.max_time=null"],
    ]
    for arguments in calls:
        done = call("dsn-train", *arguments, cwd=tmp_path, env=server.environment)
        assert f"W&B: {server.environment['WANDB_BASE_URL']}/me/dsn_lightning/runs/" in done.stderr
        assert "less than the current step" not in done.stderr
    ((run_id, stored),) = server.runs.items()
    assert run_id == (run / "wandb_id.txt").read_text().strip()
    assert stored.exit_codes == [0, 0, 0]

    steps = [row["_step"] for row in stored.history]
    assert steps == sorted(set(steps))
    epochs = [row for row in stored.history if "train/classifier_loss" in row]
    assert [row["epoch"] for row in epochs] == list(range(14))
    assert [row["trainer/global_step"] for row in epochs] == [3 * (epoch + 1) for epoch in range(14)]  # 3 batches each
    tests = [row for row in stored.history if any(name.startswith("test/") for name in row)]
    assert [row["trainer/global_step"] for row in tests] == [1, 2, 14 * 3]
    assert all({"test/top1", "test/dsn/M2/top1", "test/rows"} <= set(row) for row in tests)
    assert stored.summary["test/top1"] == tests[-1]["test/top1"]
    for axis in ("epoch", "trainer/global_step"):
        values = [row[axis] for row in stored.history if axis in row]
        assert values == sorted(values)

    table = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    for name in ("val/top1", "val/map", "val/mean_class"):
        values = [float(line[name]) for line in table]
        assert stored.summary[name] == pytest.approx(values[-1])
        assert stored.summary[f"{name}_best"] == pytest.approx(max(values))
    best = dict.fromkeys((f"val/{name}_best" for name in ("top1", "map", "mean_class")), "epoch")
    assert stored.axes == EPOCHS | TESTS | AXES | best

    logs = [path.read_text() for path in (run / "wandb").glob("run-*/logs/debug-internal.log")]
    assert len(logs) == 3
    assert not any("ignoring partial history record" in log for log in logs)  # what W&B says of a step in the past
