"""Reads the folders of runs and sweeps into tidy tables: configurations, histories, results.

Runs may be at work, or have been killed at any moment: a file that is missing or half-written gives no rows or NaN, and
the run's state says why.

States: ``finished``, ``failed``, ``stopped`` (Ctrl-C), ``running``, ``killed`` (says that it is running, but no process
holds its folder), ``waiting`` and ``skipped`` (jobs of a sweep that never started), ``unknown`` (nothing tells). An
evaluation is finished when its ``results.json`` is there.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from dsn_lightning.errors import UsageError
from dsn_lightning.runs.stored_configs import LOADER, flat, number_of, resolve, with_overrides

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("M", "N", "gamma", "seed")
"""What a sweep usually varies; these columns are there even when no run has them."""

_Folder = str | os.PathLike[str]
_Json = dict[str, Any]
_STATES_OF_JOBS = {"waiting": "waiting", "running": "running", "done": "finished", "failed": "failed",
                   "skipped": "skipped"}  # fmt: skip
_STATES_OF_RUNS = ("running", "finished", "failed", "stopped")


@dataclass(frozen=True)
class _Run:
    """A run's folder, or the place where a job of a sweep would have made it.

    Attributes:
        name: path relative to the folder that was asked for.
        folder: the run's.
        sweep: folder of the sweep that it belongs to.
        job: its entry in ``sweep.json``; empty outside of sweeps.
    """

    name: str
    folder: Path
    sweep: Path | None
    job: _Json


def find_runs(*folders: _Folder) -> list[Path]:
    """Return the folders of all runs in ``folders`` and below them, each once, 2 before 10.

    Raises:
        UsageError: one of the folders is not there, or holds neither a run nor a sweep.
    """
    return [run.folder for run in _runs(folders) if _is_run(run.folder)]


def read_configs(*folders: _Folder) -> pd.DataFrame:
    """Return one row a run, and one for each job of a sweep that never made a folder.

    Columns: ``run`` (its path relative to the folder given; with several folders, below each of them), ``folder``,
    ``state``, ``exit_code``, ``error``, ``started``, ``seconds``, ``overrides`` (a tuple), then the configuration with
    dotted names (``M``, ``algorithm.name``, ``schedule.max_epochs``); lists are tuples. A job without a folder has the
    sweep's configuration with its own overrides.

    Raises:
        UsageError: see `find_runs`.
    """
    rows = []
    for run in _runs(folders):
        row = {"run": run.name, "folder": str(run.folder), **_status(run), "overrides": _overrides(run)}
        rows.append(_configuration(run) | row)
    leading = ("run", "folder", "state", "exit_code", "error", "started", "seconds", "overrides", *KEYS)
    return _table(rows, leading).astype({"exit_code": "Int64"})


def read_histories(*folders: _Folder) -> pd.DataFrame:
    """Return one row for each run and epoch of ``metrics.csv``.

    Columns: ``run``, ``state``, the run's `KEYS`, ``epoch`` (from 0), then what was logged (``val/top1``, ...).

    Raises:
        UsageError: see `find_runs`.
    """
    rows = []
    for run in _runs(folders):
        config = _configuration(run)
        own = {"run": run.name, "state": _status(run)["state"], **{key: config.get(key) for key in KEYS}}
        rows += [own | epoch for epoch in _history(run.folder)]
    return _table(rows, ("run", "state", *KEYS, "epoch"))


def read_results(*folders: _Folder) -> pd.DataFrame:
    """Return the rows of each run's ``results.json``.

    Columns: ``run``, ``state``, the run's `KEYS` as ``run.M``, ``run.N``, ..., then the row as it is: its ``M`` and
    ``N`` are those of the test, and its ``gamma`` is NaN where the selection method does not depend on it.

    Raises:
        UsageError: see `find_runs`.
    """
    rows = []
    for run in _runs(folders):
        content = _read_json(run.folder / "results.json")
        config = _configuration(run)
        own = {"run": run.name, "state": _status(run)["state"], **{f"run.{key}": config.get(key) for key in KEYS}}
        rows += [own | row for row in content if isinstance(row, dict)] if isinstance(content, list) else []
    return _table(rows, ("run", "state", *(f"run.{key}" for key in KEYS), "selection", "classifier", "M", "N", "top1"))


def _table(rows: Sequence[_Json], leading: Sequence[str]) -> pd.DataFrame:
    """Return the rows as a table; the columns ``leading`` come first and are there whatever the rows hold."""
    import pandas as pd  # takes longer than all else here, and not everything here needs it

    names = dict.fromkeys([*leading, *(name for row in rows for name in row)])
    columns = {name: [math.nan if (v := row.get(name)) is None else v for row in rows] for name in names}
    return pd.DataFrame(columns)


def _runs(folders: Sequence[_Folder]) -> list[_Run]:
    if not folders:
        raise UsageError("no folder given: name at least one folder of a run or a sweep")
    found: dict[Path, _Run] = {}
    for given in folders:
        top = Path(given).expanduser()
        if not top.is_dir():
            raise UsageError(f"{given}: no such folder")
        inside = [Path(place) for place in _walk(top)]
        sweeps = [place for place in inside if (place / "sweep.json").is_file()]
        places = [place for place in inside if _is_run(place)]
        if not sweeps and not places:
            raise UsageError(f"{given}: holds neither a run (.hydra/config.yaml) nor a sweep (sweep.json)")
        above = [place for place in top.absolute().parents if (place / "sweep.json").is_file()]
        jobs = {place.resolve(): (sweep, job) for sweep in [*above, *sweeps] for place, job in _jobs(sweep)}
        places += [place for sweep in sweeps for place, _ in _jobs(sweep)]
        for place in sorted(places, key=_natural):
            sweep, job = jobs.get(place.resolve(), (None, {}))
            relative = place.relative_to(top)
            name = str(Path(given) / relative) if len(folders) > 1 else str(relative)
            run = _Run(top.resolve().name if name == "." else name, place, sweep, job)
            found.setdefault(place.resolve(), run)
    return list(found.values())


def _walk(top: Path) -> Iterator[str]:
    for place, inside, _ in os.walk(top):
        inside[:] = [name for name in inside if not name.startswith(".")]
        yield place


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def _is_run(folder: Path) -> bool:
    return (folder / ".hydra" / "config.yaml").is_file() or (folder / "status.json").is_file()


def _jobs(sweep: Path) -> list[tuple[Path, _Json]]:
    content = _read_json(sweep / "sweep.json")
    jobs = [job for job in content if isinstance(job, dict)] if isinstance(content, list) else []
    return [(sweep / job["folder"], job) for job in jobs if isinstance(job.get("folder"), str)]


def _overrides(run: _Run) -> tuple[str, ...]:
    given = run.job.get("overrides") or _read_yaml(run.folder / ".hydra" / "overrides.yaml")
    return tuple(str(override) for override in given) if isinstance(given, list) else ()


def _status(run: _Run) -> _Json:
    """Return ``state, exit_code, error, started, seconds``; what the run itself says comes before ``sweep.json``."""
    content = _read_json(run.folder / "status.json")
    own = content if isinstance(content, dict) and content.get("state") in _STATES_OF_RUNS else {}
    state = own.get("state") or _STATES_OF_JOBS.get(str(run.job.get("state")), "unknown")
    if state == "running" and not _is_held(run.folder):
        # before a job has written anything, only its sweep is held
        state = "running" if not own and run.sweep is not None and _is_held(run.sweep) else "killed"
    elif state == "unknown" and isinstance(_read_json(run.folder / "results.json"), list):
        state = "finished"  # dsn-evaluate, which writes it at once when all is known
    elif state == "unknown" and _is_held(run.folder):
        state = "running"
    codes = [code for code in (own.get("exit_code"), run.job.get("exit_code")) if isinstance(code, int)]
    error = own.get("error") or (_logged_error(run.folder) if state == "failed" else None)
    return {
        "state": state,
        "exit_code": next(iter(codes), None),
        "error": str(error) if error else None,
        "started": own.get("started"),
        "seconds": own.get("seconds"),
    }


def _is_held(folder: Path) -> bool:
    """Tell whether a process works in ``folder``."""
    if not (folder / ".lock").is_file():
        return False
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):  # held, or another user's
        return True
    lock.release()
    return False


def _logged_error(folder: Path) -> str | None:
    """Return the last line of ``log.txt`` if it is an error's."""
    text = _read_text(folder / "log.txt").strip()
    last = text.rpartition("\n")[2]
    message = re.fullmatch(r"dsn-\w+: error: (.+)", last)
    return message[1] if message else last if "Traceback (most recent call last)" in text else None


def _configuration(run: _Run) -> _Json:
    """Return the resolved configuration, flat."""
    content = _read_json(run.folder / "config.json")
    if isinstance(content, dict):
        return flat(content)
    content = _read_yaml(run.folder / ".hydra" / "config.yaml")
    if not isinstance(content, dict):
        swept = _read_yaml(run.sweep / "multirun.yaml") if run.sweep is not None else None
        root = {key: value for key, value in swept.items() if key != "hydra"} if isinstance(swept, dict) else {}
        content = with_overrides(root, _overrides(run))
    return flat(resolve(content, content))


def _history(folder: Path) -> list[_Json]:
    text = _read_text(folder / "metrics.csv")
    complete = text[: text.rfind("\n") + 1]  # a line without its end may hold half a number
    rows = []
    try:
        for line in csv.DictReader(io.StringIO(complete)):
            row: _Json = {name: number_of(value) for name, value in line.items() if name}
            if row.get("epoch", math.nan).is_integer():
                rows.append(row | {"epoch": int(row["epoch"])})
    except csv.Error:
        pass  # what was read before is good
    return rows


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _read_json(path: Path) -> Any:
    """Return the content of a JSON file; None if it is missing or half-written."""
    try:
        return json.loads(_read_text(path))
    except ValueError:
        return None


def _read_yaml(path: Path) -> Any:
    """Return the content of a YAML file; None if it is missing, half-written or no YAML."""
    text = _read_text(path)
    try:
        return yaml.load(text, LOADER) if text.endswith("\n") else None
    except (yaml.YAMLError, ValueError):
        return None
