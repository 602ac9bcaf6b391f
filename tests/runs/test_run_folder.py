"""The folder of a run: its format, its states and its lock."""

import json
import multiprocessing
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from pytorch_lightning.utilities.exceptions import SIGTERMException

from dsn_lightning.errors import UsageError
from dsn_lightning.runs import RunFolder, read_configs
from dsn_lightning.runs.run_folder import RUN_FORMAT
from dsn_lightning.runs.status import correct_exit_code, record_pruned, recorded_status, store_warnings
from helpers.processes import call


@pytest.mark.parametrize(
    ("error", "state", "code", "message"),
    [
        (None, "finished", 0, None),
        (RuntimeError("no memory\nat all"), "failed", 1, "RuntimeError: no memory"),
        (UsageError("gamma=-1: is a penalty"), "failed", 2, "gamma=-1: is a penalty"),
        (KeyboardInterrupt(), "stopped", 130, None),
        (SIGTERMException(), "stopped", 143, None),
        (SystemExit(3), "failed", 3, None),
    ],
    ids=["nothing", "an error", "a usage error", "Ctrl-C", "SIGTERM", "an exit"],
)
def test_a_run_records_how_it_ends(error, state, code, message, tmp_path):
    run = RunFolder(tmp_path)
    expected = nullcontext() if error is None else pytest.raises(type(error))
    with expected, run.hold(), recorded_status(run):
        assert run.state() == "running"
        if error is not None:
            raise error
    status = run.status()
    assert (status["state"], status["exit_code"], status["error"]) == (state, code, message)
    assert run.state() == state
    assert run.is_finished() == (state == "finished")
    assert datetime.fromisoformat(status["started"]) <= datetime.fromisoformat(status["ended"])


def test_the_exit_code_of_all_processes_replaces_that_of_the_first(tmp_path):
    run, now = RunFolder(tmp_path), datetime.now(UTC)
    with recorded_status(run):
        pass
    correct_exit_code(run, 137, since=now + timedelta(minutes=1))  # that of a run before this one stays
    assert run.status()["exit_code"] == 0
    correct_exit_code(run, 137, since=now - timedelta(minutes=1))
    assert (run.state(), run.status()["exit_code"]) == ("failed", 137)


def test_a_pruned_run_says_so_until_it_goes_on(tmp_path):
    run = RunFolder(tmp_path)
    record_pruned(run)  # killed before it had a status
    assert run.state() == "unknown"
    with pytest.raises(SystemExit), recorded_status(run):
        raise SystemExit(143)
    record_pruned(run)
    assert (run.state(), run.status()["exit_code"], run.is_used()) == ("pruned", 143, True)
    assert read_configs(tmp_path)["state"].tolist() == ["pruned"]
    with recorded_status(run):  # resume=
        pass
    assert run.state() == "finished"


def test_warnings_stay_whatever_the_end_and_in_the_next_start(tmp_path):
    run, warning = RunFolder(tmp_path), {"epoch": 3, "text": "the policy has collapsed"}
    with recorded_status(run):
        assert run.status()["warnings"] == []
        store_warnings(run, [warning])
        assert run.state() == "killed"  # what it is without its lock
    assert (run.state(), run.status()["warnings"]) == ("finished", [warning])
    with pytest.raises(KeyboardInterrupt), recorded_status(run):  # resume=
        raise KeyboardInterrupt
    assert (run.state(), run.status()["warnings"]) == ("stopped", [warning])
    assert run.warnings() == ["epoch 3: the policy has collapsed"]


@pytest.mark.parametrize("content", ["none", [3], [{"epoch": 1}], {"epoch": 1, "text": "x"}, None])
def test_damaged_warnings_are_left_out(content, tmp_path):
    run = RunFolder(tmp_path)
    run.status_json.write_text(json.dumps({"format": RUN_FORMAT, "state": "finished", "warnings": content}))
    assert run.warnings() == []


@pytest.mark.parametrize(("content", "found"), [({}, "none"), ({"format": 2}, "2")])
def test_a_run_of_another_format_is_neither_read_nor_resumed(content, found, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.config_yaml.write_text("M: 3\n")
    run.status_json.write_text(json.dumps({"state": "finished", **content}))
    message = f"expected run format {RUN_FORMAT}, got {found}"
    with pytest.raises(UsageError, match=message):
        read_configs(run.path)
    done = call("dsn-train", "resume=run", cwd=tmp_path, expect=2)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_time_limit_may_leave_epochs(tmp_path):
    run = RunFolder(tmp_path)
    assert run.stopped_early()  # in its first epoch
    for epoch, early in ((1, True), (2, False)):
        run.progress_json.write_text(json.dumps({"epoch": epoch, "max_epochs": 2}))
        assert run.stopped_early() == early


def test_two_processes_do_not_hold_the_same_folder(tmp_path):
    context = multiprocessing.get_context("forkserver")
    refused = pytest.raises(UsageError, match="another process is working in this folder")
    with RunFolder(tmp_path).hold(), context.Pool(1) as pool, refused:
        pool.apply(hold, (RunFolder(tmp_path),))
    hold(RunFolder(tmp_path))


def hold(run: RunFolder) -> None:
    with run.hold():
        pass
