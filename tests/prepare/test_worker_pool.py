"""The pool of worker processes: failures stay with their task, and no process outlives the command."""

import multiprocessing
from pathlib import Path

import pytest

from dsn_lightning.prepare.worker_pool import DiskFullError, run_each
from helpers.tasks import do, hold, wait_for


def test_failing_tasks_and_dying_processes_do_not_stop_the_pool(tmp_path):
    tasks = [(name, str(tmp_path)) for name in ("a", "die", "bad", "b", "c")]
    outcomes = dict(run_each(do, tasks, jobs=2))
    assert {number for number, failure in outcomes.items() if failure is None} == {0, 3, 4}
    assert outcomes[1] == "its worker process ended with exit code -9"
    assert outcomes[2] == "is truncated"
    assert {p.name for p in tmp_path.iterdir()} == {"a.done", "b.done", "c.done"}


def test_a_full_disk_and_a_bug_stop_the_pool(tmp_path):
    with pytest.raises(DiskFullError, match="No space left"):
        list(run_each(do, [("full", ""), ("a", str(tmp_path))], jobs=1))
    with pytest.raises(RuntimeError, match="a bug"):
        list(run_each(do, [("wrong", "")], jobs=1))


def test_no_process_outlives_a_killed_command(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(str(tmp_path),))
    process.start()
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2, 30)
    process.kill()
    process.join()
    wait_for(lambda: not any(Path("/proc", p.name).exists() for p in tmp_path.iterdir()), 10)
