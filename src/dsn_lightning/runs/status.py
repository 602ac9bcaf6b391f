"""Records how a run ends, in the ``status.json`` of its folder."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import write_json
from dsn_lightning.runs.exit_codes import STOPPED_BY_SIGTERM, exit_code_of
from dsn_lightning.runs.machine_faults import fault_of
from dsn_lightning.runs.run_folder import RUN_FORMAT, RunFolder


def scheduler_job() -> str | None:
    """Return the id of the job of submitit or Slurm that this process runs in, which a requeued job keeps."""
    return os.environ.get("SUBMITIT_LOCAL_JOB_ID") or os.environ.get("SLURM_JOB_ID")


def was_requeued(run: RunFolder) -> bool:
    """Whether this process belongs to the job that the run in the folder began in, executed again after preemption.

    Only then the same command goes on with the run. (In an interactive job of Slurm many commands have the same id.)
    """
    in_submitit = "SUBMITIT_LOCAL_JOB_ID" in os.environ
    again = in_submitit or int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0
    return again and run.status().get("job") == scheduler_job()


@contextmanager
def recorded_status(run: RunFolder) -> Iterator[dict[str, Any]]:
    """Record the state of what runs inside, whatever its end, and at its end what it has added to the dict it gets.

    ``status.json`` holds ``format``, ``state`` (running, finished, failed, stopped; pruned is that of `record_pruned`),
    ``exit_code``, ``error``, ``started``, ``ended`` (ISO times), ``seconds``, ``job`` (see `scheduler_job`) and
    ``warnings`` (see `store_warnings`). A killed run stays ``running``, with nobody holding its folder.
    """
    started = datetime.now(UTC)
    added: dict[str, Any] = {}
    _write(run, started, state="running")
    try:
        yield added
    except BaseException as error:
        code = exit_code_of(error)
        _write(run, started, state=_state_of(code), exit_code=code, error=message_of(error), added=added)
        raise
    _write(run, started, state="finished", exit_code=0, added=added)


def store_warnings(run: RunFolder, warnings: Sequence[Mapping[str, Any]]) -> None:
    """Record all warnings of the training so far in ``status.json``: ``{"epoch": from 1, "text": ...}`` each."""
    write_json(run.status_json, run.status() | {"warnings": list(warnings)})


def record_pruned(run: RunFolder) -> None:
    """Record that a search has ended a run that had no prospects, which itself has recorded that it was stopped."""
    if status := run.status():
        write_json(run.status_json, status | {"state": "pruned"})


def correct_exit_code(run: RunFolder, code: int, *, since: datetime) -> None:
    """Record the exit code of a whole run, where the failure of another process ended the first one.

    The record of a run that the folder held before ``since``, when this one began, stays unchanged.
    """
    status = run.status()
    if status and datetime.fromisoformat(status["started"]) >= since and status["exit_code"] != code:
        write_json(run.status_json, status | {"state": _state_of(code), "exit_code": code})


def _write(
    run: RunFolder,
    started: datetime,
    *,
    state: str,
    exit_code: int | None = None,
    error: str | None = None,
    added: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    ended = None if exit_code is None else datetime.now(UTC)
    content: dict[str, Any] = {
        "format": RUN_FORMAT,
        "state": state,
        "exit_code": exit_code,
        "error": error,
        "started": started.isoformat(timespec="seconds"),
        "ended": ended and ended.isoformat(timespec="seconds"),
        "seconds": ended and round((ended - started).total_seconds(), 1),
        "job": scheduler_job(),
        "warnings": run.status().get("warnings", []),
    }
    content |= dict(added)
    try:
        write_json(run.status_json, content)
    except OSError as full:
        if ended is None:
            raise
        _overwrite(run, content, full)


def _overwrite(run: RunFolder, content: dict[str, Any], reason: OSError) -> None:
    """Write the state into the file that exists, for which a full disk has room; otherwise say that it is not there."""
    try:
        with run.status_json.open("r+", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=2) + "\n")
            file.truncate()
    except OSError:
        where = printable(run.status_json)
        print(f'{where}: still says "running": it cannot be written ({reason.strerror})', file=sys.stderr)


def _state_of(exit_code: int) -> str:
    return "stopped" if exit_code in (130, STOPPED_BY_SIGTERM) else "failed"


def message_of(error: BaseException) -> str | None:
    """Return the first line that describes an error; None where the process was asked to end."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return None
    usage = error if isinstance(error, UsageError) else error.__cause__  # Hydra wraps what a constructor raises
    fault = usage if isinstance(usage, UsageError) else fault_of(error)
    message = f"{type(error).__name__}: {error}" if fault is None else str(fault)
    return message.splitlines()[0] if message else None
