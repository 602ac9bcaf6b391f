"""On-line W&B runs, against a stand-in for its server."""

from pathlib import Path

import pytest

from conftest import NEEDLE
from helpers.processes import call
from helpers.wandb_server import StandInServer, assert_one_whole_run, stand_in_server

TINY = [
    "schedule.max_epochs=14", "schedule.batch_size=4", "M=2", "N=2", "trainer.check_val_every_n_epoch=1",
    "algorithm.warmup_epochs=0", "trainer.accelerator=cpu", "test.random_draws=3", "test.figures=false", "logger=wandb",
]  # fmt: skip


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
    stored = assert_one_whole_run(server, run, batches=3)
    assert stored.exit_codes == [0, 0, 0]
    tests = [row for row in stored.history if any(name.startswith("test/") for name in row)]
    assert [row["trainer/global_step"] for row in tests] == [1, 2, 14 * 3]
    assert all({"test/top1", "test/dsn/M2/top1", "test/rows"} <= set(row) for row in tests)
    assert stored.summary["test/top1"] == tests[-1]["test/top1"]

    logs = [path.read_text() for path in (run / "wandb").glob("run-*/logs/debug-internal.log")]
    assert len(logs) == 3
    assert not any("ignoring partial history record" in log for log in logs)  # what W&B says of a step in the past
