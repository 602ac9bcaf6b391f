"""Reads the folders of runs and sweeps, and runs that W&B has stored, into tidy tables.

Runs may be in progress, or may have been killed at any moment: a missing or incomplete file gives no rows or NaN, and
the run's state says why. A file that cannot be read for another reason does the same, and `noted_problems`
names it. A run or a sweep of another format is left out, unless there is nothing else. States: those of `RunFolder`,
and ``waiting`` and ``skipped`` for the jobs of a sweep that never started.

A folder may also hold runs that W&B has logged offline (``offline-run-*``), such as those that were copied from another
machine. They are read where no folder of a run of this package holds them. See `StoredWandbRun` for their states.

``wandb:ENTITY/PROJECT`` in place of a folder reads the runs on W&B's server; see `server_runs`.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dsn_lightning.errors import UsageError
from dsn_lightning.files import user_path
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.stored_configs import flat, number_of, resolve, with_overrides
from dsn_lightning.runs.sweep_folder import SweepFolder, SweepJob
from dsn_lightning.runs.tolerant_files import note_problem, read_json, read_text, read_yaml, without_too_many_cells
from dsn_lightning.runs.wandb_files import StoredWandbRun, offline_runs
from dsn_lightning.runs.wandb_project import is_on_server, server_runs
from dsn_lightning.text_tables import csv_records

if TYPE_CHECKING:
    import pandas as pd

_MAX_KEYS = 10_000  # of a configuration or a row, each of which becomes a column

KEYS = ("M", "N", "gamma", "seed")
"""What a sweep usually varies; every table has these columns, even if no run has the keys."""

_FolderPath = str | os.PathLike[str]
_Json = dict[str, Any]
_STATES_OF_JOBS = {name: name for name in ("waiting", "running", "failed", "stopped", "pruned", "skipped")}
_STATES_OF_JOBS["done"] = "finished"


class _ReadRun(Protocol):
    """What the tables need of a run."""

    @property
    def name(self) -> str:
        """Its path relative to the folder that was searched."""

    @property
    def place(self) -> Path:
        """The folder in which it lies; of a run on W&B's server, its address."""

    def wandb_id(self) -> str | None:
        """Return its id in W&B; None if it has none."""

    def exists(self) -> bool:
        """Whether it has begun."""

    def status(self) -> _Json:
        """Return ``state, exit_code, error, started, seconds``."""

    def overrides(self) -> tuple[str, ...]:
        """Return the overrides with which it was called."""

    def configuration(self) -> _Json:
        """Return the resolved configuration, flat; empty if it cannot be read."""

    def history(self) -> list[_Json]:
        """Return one row for each epoch."""

    def results(self) -> list[_Json]:
        """Return the rows of its results."""


@dataclass(frozen=True)
class _FoundRun:
    """A run, or a job of a sweep that has not begun; ``sweep`` and ``job`` are None outside of sweeps."""

    name: str
    folder: RunFolder
    sweep: SweepFolder | None
    job: SweepJob | None

    @property
    def place(self) -> Path:
        return self.folder.path

    def wandb_id(self) -> str | None:
        return read_text(self.folder.wandb_id).strip() or None

    def exists(self) -> bool:
        return self.folder.exists()

    def status(self) -> _Json:
        return _status(self)

    def overrides(self) -> tuple[str, ...]:
        return _overrides(self)

    def configuration(self) -> _Json:
        return _configuration(self)

    def history(self) -> list[_Json]:
        return _history(self.folder)

    def results(self) -> list[_Json]:
        content = read_json(self.folder.results_json)
        rows = [row for row in content if isinstance(row, dict)] if isinstance(content, list) else []
        return without_too_many_cells(self.folder.results_json, rows)


@dataclass(frozen=True)
class _FoundWandbRun:
    """A run that W&B has stored."""

    name: str
    run: StoredWandbRun

    @property
    def place(self) -> Path:
        return self.run.folder

    def wandb_id(self) -> str | None:
        return self.run.id

    def exists(self) -> bool:
        return True

    def status(self) -> _Json:
        recorded = {"exit_code": self.run.exit_code, "error": None, "started": self.run.started}
        return {"state": self.run.state, **recorded, "seconds": self.run.seconds}

    def overrides(self) -> tuple[str, ...]:
        return ()

    def configuration(self) -> _Json:
        return _within_limits(self.run.folder, flat(self.run.config))

    def history(self) -> list[_Json]:
        rows = [row for row in self.run.epochs() if len(row) <= _MAX_KEYS]
        return without_too_many_cells(self.run.folder, rows)

    def results(self) -> list[_Json]:
        return self.run.results()


def find_runs(*folders: _FolderPath) -> list[Path]:
    """Return the folders of all runs in ``folders`` and below them, each once, 2 before 10.

    Those of this package come first, then those that W&B alone has stored.

    Raises:
        UsageError: one of the folders does not exist, or holds no run, no sweep of this format and no run of W&B; or
            it is an address in W&B (``wandb:...``), whose runs have no folders.
    """
    for given in folders:
        if is_on_server(given):
            raise UsageError(f"{given}: expected a folder; read_configs, read_histories and read_results read W&B")
    return [run.place for run in _runs(folders) if run.exists()]


def read_configs(*folders: _FolderPath) -> pd.DataFrame:
    """Return one row for each run, and one for each job of a sweep that has no folder yet.

    Columns: ``run`` (its path relative to the folder given; with several folders, that folder first), ``folder``,
    ``state``, ``exit_code``, ``error``, ``started``, ``seconds``, ``overrides`` (a tuple), then the configuration with
    dotted names (``M``, ``algorithm.name``, ``schedule.max_epochs``); lists are tuples. A job without a folder gets the
    sweep's configuration with the job's overrides. On W&B's server, ``run`` is the run's id, or its address if several
    folders or addresses are given, and ``folder`` is the address.

    Raises:
        UsageError: see `find_runs` and `server_runs`.
    """
    rows = []
    for run in _runs(folders):
        row = {"run": run.name, "folder": str(run.place), **run.status(), "overrides": run.overrides()}
        rows.append(run.configuration() | row)
    leading = ("run", "folder", "state", "exit_code", "error", "started", "seconds", "overrides", *KEYS)
    table = _table(rows, leading)
    table["exit_code"] = table["exit_code"].astype("Int64")
    return table


def read_histories(*folders: _FolderPath) -> pd.DataFrame:
    """Return one row for each run and epoch of ``metrics.csv``.

    Columns: ``run``, ``state``, the run's `KEYS`, ``epoch`` (from 0), then what was logged (``val/top1``, ...).

    Raises:
        UsageError: see `find_runs` and `server_runs`.
    """
    rows = []
    for run in _runs(folders):
        common = _common(run)
        rows += [common | epoch for epoch in run.history()]
    return _table(rows, ("run", "state", *KEYS, "epoch"))


def read_results(*folders: _FolderPath) -> pd.DataFrame:
    """Return the rows of each run's ``results.json``.

    Columns: ``run``, ``state``, the run's `KEYS` as ``run.M``, ``run.N``, ..., then those of the file: its ``M`` and
    ``N`` are the test's, and its ``gamma`` is NaN where the selection method does not depend on it.

    Raises:
        UsageError: see `find_runs` and `server_runs`.
    """
    rows = []
    for run in _runs(folders):
        common = _common(run, "run.")
        rows += [common | row for row in run.results() if len(row) <= _MAX_KEYS]
    return _table(rows, ("run", "state", *(f"run.{key}" for key in KEYS), "selection", "classifier", "M", "N", "top1"))


def _common(run: _ReadRun, prefix: str = "") -> _Json:
    config = run.configuration()
    return {"run": run.name, "state": run.status()["state"], **{prefix + key: config.get(key) for key in KEYS}}


def _table(rows: Sequence[_Json], leading: Sequence[str]) -> pd.DataFrame:
    """Return the rows as a table whose first columns are ``leading``, whatever the rows hold."""
    import pandas as pd  # slower to import than everything else here, and not always needed

    names = dict.fromkeys([*leading, *(name for row in rows for name in row)])
    columns: dict[str, Any] = {
        name: [math.nan if (v := row.get(name)) is None else v for row in rows] for name in names
    }
    for name, values in columns.items():
        if not _are_utf8(values):  # PyArrow, where it is installed, stores no others as texts
            columns[name] = pd.Series(values, dtype=object)
    table = pd.DataFrame(dict(enumerate(columns.values())))
    table.columns = pd.Index(list(columns), dtype=None if _are_utf8(columns) else object)
    return table


def _are_utf8(values: Iterable[Any]) -> bool:
    """Return whether all texts among the values are UTF-8, which names of files in other bytes are not."""
    try:
        for value in values:
            if isinstance(value, str):
                value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _runs(given: Sequence[_FolderPath]) -> list[_ReadRun]:
    """Return the runs in folders and at addresses in W&B, each once; one that a folder holds is read from there."""
    if not given:
        raise UsageError("no folder given: name at least one folder of a run or a sweep")
    found: dict[Path, _ReadRun] = {}
    for one in given:
        runs = _server_runs(one, len(given) > 1) if is_on_server(one) else _runs_in(one, len(given) > 1)
        for run in runs:
            found.setdefault(run.place.resolve(), run)
    if not any(map(is_on_server, given)):
        return list(found.values())
    in_folders = {run.wandb_id() for run in found.values() if not is_on_server(run.place)}
    return [run for run in found.values() if not is_on_server(run.place) or run.wandb_id() not in in_folders]


def _server_runs(given: _FolderPath, is_one_of_many: bool) -> Iterator[_ReadRun]:
    for run in server_runs(given):
        yield _FoundWandbRun(str(run.folder) if is_one_of_many else run.id, run)


def _runs_in(given: _FolderPath, is_one_of_many: bool) -> Iterator[_ReadRun]:
    top = user_path(given)
    if not top.is_dir():
        raise UsageError(f"{given}: no such folder")
    inside = list(_walk(top))
    paths = [path for path in inside if RunFolder(path).exists()]
    stored = {run.folder: run for run in offline_runs(path for path in inside if path.parent.parent not in paths)}
    jobs = _own_runs(given, inside, paths, is_needed=not stored)
    for path in [*sorted(jobs, key=_natural), *sorted(stored, key=_natural)]:
        relative = path.relative_to(top)
        name = str(Path(given) / relative) if is_one_of_many else str(relative)
        name = top.resolve().name if name == "." else name
        if path in stored:
            yield _FoundWandbRun(name, stored[path])
        else:
            yield _FoundRun(name, RunFolder(path), *jobs[path])


def _own_runs(
    given: _FolderPath, inside: Sequence[Path], paths: Sequence[Path], *, is_needed: bool
) -> dict[Path, tuple[SweepFolder | None, SweepJob | None]]:
    """Return the folders of runs in ``given``, with the sweep and the job that each is of.

    Args:
        given: the folder to read.
        inside: it and all folders in it.
        paths: those of them in which a run has begun.
        is_needed: whether it is an error if there are none.
    """
    sweeps = [SweepFolder(path) for path in inside if SweepFolder(path).exists()]
    if not sweeps and not paths and is_needed:
        wanted = "a run (.hydra/config.yaml), nor a sweep (sweep.json), nor an offline run of W&B (offline-run-*)"
        raise UsageError(f"{given}: holds neither {wanted}")
    above = [SweepFolder(path) for path in inside[0].absolute().parents if SweepFolder(path).exists()]
    refused: list[UsageError] = []
    inside_jobs, above_jobs = _jobs(sweeps, refused), _jobs(above, [])
    jobs = {sweep.run(job).path.resolve(): (sweep, job) for sweep, job in [*above_jobs, *inside_jobs]}
    read = [path for path in paths if _is_read(RunFolder(path), refused)]
    read += [sweep.run(job).path for sweep, job in inside_jobs if _is_read(sweep.run(job), [])]
    if not read and refused:
        raise refused[0]
    return {path: jobs.get(path.resolve(), (None, None)) for path in read}


def _jobs(sweeps: Sequence[SweepFolder], refused: list[UsageError]) -> list[tuple[SweepFolder, SweepJob]]:
    """Return the jobs of all sweeps that can be read; add the errors of the others to ``refused``."""
    jobs = []
    for sweep in sweeps:
        try:
            jobs += [(sweep, job) for job in sweep.read().jobs]
        except UsageError as error:
            refused.append(error)
            note_problem(
                sweep.sweep_json, str(error).removeprefix(f"{sweep.sweep_json}: ").removeprefix(f"{sweep.path}: ")
            )
    return jobs


def _is_read(run: RunFolder, refused: list[UsageError]) -> bool:
    """Return whether a run has our format; otherwise add the error to ``refused``."""
    try:
        run.status()
    except UsageError as error:
        refused.append(error)
        note_problem(run.status_json, str(error).removeprefix(f"{run.path}: "))
        return False
    return True


def _walk(top: Path) -> Iterator[Path]:
    for path, inside, _ in os.walk(top):
        inside[:] = [name for name in inside if not name.startswith(".")]
        yield Path(path)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def _overrides(run: _FoundRun) -> tuple[str, ...]:
    overrides = run.job.overrides if run.job is not None else read_yaml(run.folder.hydra_overrides)
    return tuple(map(str, overrides)) if isinstance(overrides, list | tuple) else ()


def _status(run: _FoundRun) -> _Json:
    """Return ``state, exit_code, error, started, seconds``; the run's record comes before that of its sweep."""
    recorded = run.folder.status()
    state = run.folder.state()
    if not recorded and run.job is not None and run.job.state in _STATES_OF_JOBS:
        in_progress = state == "running" or (run.sweep is not None and run.sweep.is_held())
        state = _STATES_OF_JOBS[run.job.state]
        if state == "running" and not in_progress:
            state = "killed"
    codes = [recorded.get("exit_code"), run.job.exit_code if run.job is not None else None]
    error = recorded.get("error") or (run.folder.logged_error() if state == "failed" else None)
    return {
        "state": state,
        "exit_code": next((code for code in codes if type(code) is int), None),
        "error": str(error) if error else None,
        "started": started if isinstance(started := recorded.get("started"), str) else None,
        "seconds": seconds if _is_number(seconds := recorded.get("seconds")) else None,
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _configuration(run: _FoundRun) -> _Json:
    """Return the resolved configuration, flat; empty if it cannot be read."""
    content = read_json(run.folder.config_json)
    if isinstance(content, dict):
        return _within_limits(run.folder.config_json, flat(content))
    content = read_yaml(run.folder.hydra_config)  # an evaluation, or a run that has not begun
    try:
        if not isinstance(content, dict):
            swept = read_yaml(run.sweep.multirun_yaml) if run.sweep is not None else None
            root = {key: value for key, value in swept.items() if key != "hydra"} if isinstance(swept, dict) else {}
            content = with_overrides(root, _overrides(run))
        return _within_limits(run.folder.hydra_config, flat(resolve(content)))
    except ValueError as error:
        note_problem(run.folder.hydra_config, str(error))
        return {}


def _within_limits(file: Path, config: _Json) -> _Json:
    if len(config) <= _MAX_KEYS:
        return config
    note_problem(file, f"has more than {_MAX_KEYS} keys")
    return {}


def _history(folder: RunFolder) -> list[_Json]:
    text = read_text(folder.metrics_csv)
    complete = text[: text.rfind("\n") + 1]  # the last line may hold half a number
    rows = []
    try:
        for line in csv_records(complete):
            row: _Json = {name: number_of(value) for name, value in line.items() if name}
            if len(row) <= _MAX_KEYS and (epoch := row.get("epoch", math.nan)).is_integer() and 0 <= epoch < 2**53:
                rows.append(row | {"epoch": int(epoch)})
    except csv.Error as error:  # the rows before it are good
        note_problem(folder.metrics_csv, f"damaged ({error})")
    return without_too_many_cells(folder.metrics_csv, rows)
