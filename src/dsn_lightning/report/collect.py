"""Finds runs and results in folders and below; a file that cannot be read becomes a note, never an error."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsn_lightning.errors import UsageError, printable
from dsn_lightning.evaluation.row_check import is_row
from dsn_lightning.evaluation.scores_file import belongs_to_results
from dsn_lightning.files import user_path
from dsn_lightning.runs import RunFolder, SweepFolder
from dsn_lightning.runs.reading import read_configs, read_histories
from dsn_lightning.runs.recorded_environment import read_environment
from dsn_lightning.runs.tolerant_files import note_problem, noted_problems, read_json, without_too_many_cells

Json = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A training or an evaluation with a state."""

    name: str  #: its path below the given folder
    folder: Path  #: the run's folder, even if it was never created
    state: str  #: see `dsn_lightning.runs.reading`
    error: str | None  #: why it failed, where that is known
    seconds: float | None  #: how long it took
    config: Json  #: its configuration with dotted names; empty where there is none
    history: list[Json]  #: what was logged, a row for each epoch; figures that were not logged are absent
    environment: Json  #: content of ``environment.json``
    warnings: list[str] = field(default_factory=list)  #: of its training, with their epochs

    @property
    def dataset(self) -> str:
        """Name of its data set."""
        return dataset_name(str(self.config.get("dataset.name", "unknown data set")), self.environment)


@dataclass(frozen=True)
class Source:
    """A folder with a ``results.json``: an evaluation, a run, or a table made from some of them."""

    name: str  #: its path below the given folder
    folder: Path
    rows: list[Json]  #: content of ``results.json``
    environment: Json  #: content of ``environment.json``


def dataset_name(name: str, environment: Json) -> str:
    """Return what a data set is called: with its folder's name if it has no official lists.

    >>> dataset_name("mine", {"tested_on": {"own_folder": "birds"}}), dataset_name("ucf101", {})
    ('mine (birds)', 'ucf101')
    """
    counts = environment.get("tested_on") or environment.get("trained_on") or {}
    return f"{name} ({counts['own_folder']})" if counts.get("own_folder") else name


@dataclass
class Collection:
    """Everything that was found."""

    folders: list[str]  #: as given
    runs: list[Run] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    #: file that a table of the paper has written -> its content, as in ``statistics.json``, about several trainings
    differences: dict[str, Json] = field(default_factory=dict)
    #: a sentence for each file that could not be read and each folder without runs or results
    notes: list[str] = field(default_factory=list)

    def environments(self) -> list[Json]:
        """Return the content of each ``environment.json`` that is not empty."""
        everything: list[Run | Source] = [*self.runs, *self.sources]
        return [one.environment for one in everything if one.environment]


def collect(folders: Sequence[str]) -> Collection:
    """Read everything in ``folders`` and below them.

    Raises:
        UsageError: a folder does not exist, or none of them holds a run or a result.
    """
    if not folders:
        raise UsageError("no folder given: expected at least one folder with runs, sweeps or evaluations")
    tops = {given: user_path(given) for given in folders}
    for given, top in tops.items():
        if not top.is_dir():
            raise UsageError(f"{given}: no such folder")
    found = Collection(list(folders))
    names = _Names(folders)
    with noted_problems() as problems:
        _collect_into(found, tops, names)
    found.notes += [f"{shown(_name_of(file, names))}: not read: {shown(why)}" for file, why in problems.items()]
    if not found.runs and not found.sources:
        reasons = f"; {'; '.join(found.notes)}" if problems else ""
        raise UsageError(f"{', '.join(folders)}: no run, sweep or results.json in it or below{reasons}")
    return found


def _name_of(file: Path, names: "_Names") -> str:
    folder = file.parent.parent if file.parent.name == RunFolder.hydra_config.name.split("/")[0] else file.parent
    return f"{names(folder)}/{file.relative_to(folder)}"


def _collect_into(found: Collection, tops: Mapping[str, Path], names: "_Names") -> None:
    with_runs = []
    for given, top in tops.items():
        sources = list(_sources(top, names))
        known = {source.folder.resolve() for source in found.sources}
        found.sources += [source for source in sources if source.folder.resolve() not in known]
        found.differences |= _differences(top, names)
        if any(RunFolder(place).exists() or SweepFolder(place).exists() for place, _ in _walk(top)):
            with_runs.append(given)
        elif not sources:
            found.notes.append(f"{given}: no run and no results")
    if with_runs:
        try:
            found.runs = _runs(with_runs, names)
        except UsageError:  # none of them can be read; the reasons are noted
            return


class _Names:
    """Names folders by their path below the given folder, which comes first if there are several."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.tops = [(given, user_path(given).resolve()) for given in folders]

    def __call__(self, folder: Path) -> str:
        place = folder.resolve()
        for given, top in self.tops:
            if place.is_relative_to(top):
                inside = place.relative_to(top)
                if len(self.tops) > 1:
                    return str(Path(given) / inside)
                return top.name if str(inside) == "." else str(inside)
        return str(folder)


def _walk(top: Path) -> Iterator[tuple[Path, list[str]]]:
    for place, inside, files in os.walk(top):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        yield Path(place), files


def _sources(top: Path, names: _Names) -> Iterator[Source]:
    for place, files in _walk(top):
        run = RunFolder(place)
        if run.results_json.name not in files:
            continue
        try:
            run.status()
        except UsageError as error:  # a run of another format
            note_problem(run.status_json, str(error).removeprefix(f"{place}: "))
            continue
        content = read_json(run.results_json)
        rows = [shown(row) for row in content if is_row(row)] if isinstance(content, list) else []
        rows = without_too_many_cells(run.results_json, rows)
        if not isinstance(content, list) or len(rows) < len(content):
            problem = "expected a list of rows" if not rows else "some entries are not rows of results"
            note_problem(run.results_json, problem)
        if rows and not belongs_to_results(place):
            note_problem(run.results_json, "its scores are damaged or of another evaluation; evaluate it again")
        if rows:
            yield Source(names(place), place, rows, _environment(place))


def _differences(top: Path, names: _Names) -> dict[str, Json]:
    files = [place / file for place, files in _walk(top) if place.name == "differences" for file in sorted(files)]
    found = {}
    for file in files:
        content = read_json(file) if file.suffix == ".json" else None
        if isinstance(content, dict) and {"about", "differences"} <= {*content}:
            found[str(Path(names(file.parent)) / file.name)] = shown(content)
    return found


def shown(value: Any) -> Any:
    """Return plain values whose texts every output can show: no control characters and no lone surrogates.

    >>> shown({"dataset": chr(0), "M": [1]}) == {"dataset": r"\\x00", "M": [1]}
    True
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {shown(key): shown(item) for key, item in value.items()}
    return type(value)(map(shown, value)) if isinstance(value, list | tuple) else value


def _runs(folders: Sequence[str], names: _Names) -> list[Run]:
    histories: dict[str, list[Json]] = {}
    for row in read_histories(*folders).to_dict("records"):
        logged = {shown(str(key)): value for key, value in row.items() if not _is_missing(value)}
        histories.setdefault(str(row["run"]), []).append(logged)
    runs = []
    for row in read_configs(*folders).to_dict("records"):
        config = {shown(str(key)): shown(value) for key, value in row.items() if not _is_missing(value)}
        status = {key: config.pop(key, None) for key in ("run", "folder", "state", "error", "seconds")}
        folder, state = Path(str(row["folder"])), str(status["state"])
        history = histories.get(str(status["run"]), [])
        kept = (status["error"], status["seconds"], config, history, _environment(folder), RunFolder(folder).warnings())
        runs.append(Run(names(folder), folder, state, *kept))
    return runs


def _is_missing(value: Any) -> bool:
    import pandas as pd  # takes a second; a wrong folder name should not

    return value is None or (not isinstance(value, tuple) and bool(pd.isna(value)))


def _environment(folder: Path) -> Json:
    return dict(shown(read_environment(RunFolder(folder))))
