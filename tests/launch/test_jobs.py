"""Jobs in fresh processes: what is shown of them."""

import io
import json
import signal
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from dsn_lightning.launch.jobs import Job, _table, run_jobs

NAME = "0 selection=[uniform,dsn] dataset.group='[/]'"


@pytest.mark.parametrize(("code", "shown"), [(0, "done in"), (3, "failed with exit code 3; see")])
def test_names_of_jobs_are_printed_literally(code, shown, tmp_path):
    console = Console(file=io.StringIO(), width=200)
    run_jobs([Job(NAME, sys.exit, (code,), tmp_path)], at_once=1, console=console)
    assert f"{NAME}: {shown}" in console.file.getvalue()


def test_the_live_table_shows_names_literally():
    console = Console(file=io.StringIO(), width=200)
    console.print(_table([Job(NAME, print, (), Path("nowhere"))]))
    assert NAME in console.file.getvalue()


def test_a_job_logs_its_output_and_its_traceback(tmp_path):
    jobs = [Job("a", print, ("hello",), tmp_path / "a"), Job("b", int, ("x",), tmp_path / "b")]
    failed = run_jobs(jobs, at_once=2, console=Console(file=io.StringIO()))
    assert failed == jobs[1:]
    assert (tmp_path / "a" / "log.txt").read_text() == "hello\n"
    assert "ValueError: invalid literal" in (tmp_path / "b" / "log.txt").read_text()
    assert [(job.state, job.exit_code) for job in jobs] == [("done", 0), ("failed", 1)]


def test_the_table_of_jobs_shows_the_best_value_in_percent(tmp_path):
    progress = {"epoch": 2, "max_epochs": 2, "seconds_per_epoch": 1.0, "best_value": 0.312, "metrics": {}}
    (tmp_path / "progress.json").write_text(json.dumps(progress))
    console = Console(file=io.StringIO(), width=200)
    console.print(_table([Job(NAME, print, (), tmp_path, state="done")]))
    assert " 31.2% " in console.file.getvalue()


def test_jobs_may_be_added_and_pruned_while_others_run(tmp_path):
    """A pruned job gets SIGTERM, as with a stop, and is not run again."""
    jobs = [Job("0", time.sleep, (60,), tmp_path / "0")]
    recorded = []

    def attend() -> None:
        if jobs[0].state == "running":
            jobs[0].is_pruned = True
        if jobs[0].state == "pruned" and len(jobs) == 1:
            jobs.append(Job("1", print, (), tmp_path / "1"))

    console = Console(file=io.StringIO(), width=200)
    started = time.monotonic()
    run_jobs(
        jobs, at_once=1, console=console, attend=attend, on_change=lambda: recorded.append([j.state for j in jobs])
    )
    assert time.monotonic() - started < 30
    assert [(job.state, job.exit_code) for job in jobs] == [("pruned", -signal.SIGTERM), ("done", 0)]
    assert recorded[0] == ["running"]
    assert recorded[-1] == ["pruned", "done"]
    assert "0: pruned after" in console.file.getvalue()
