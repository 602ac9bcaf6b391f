"""The keys that runs log to W&B, as their folders tell, and the keys that a W&B specification names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from dsn_lightning.evaluation.details import prefix_of
from dsn_lightning.evaluation.splits import HEADINGS
from dsn_lightning.runs import SweepFolder, read_configs, read_histories, read_results

AXIS = "epoch"
"""The axis of what is logged once an epoch."""

_OF_TABLES = {"run", "state", "M", "N", "gamma", "seed"}  # columns of a history that are not logged in it
_TABLES = ("rows", "selected_clips", "confusion_matrix_table")  # the last one not of videos with several labels
_NUMBERED = re.compile(r"_\d+_[0-9a-f]+\.table\.json$")  # what W&B adds to a table's name
_RUN_ATTRIBUTES = {"_step", "_runtime", "_timestamp", "_absolute_runtime"}  # W&B has these of every run


@dataclass(frozen=True)
class LoggedKeys:
    """Keys of runs in W&B."""

    metrics: frozenset[str]  #: of their histories and summaries
    config: frozenset[str]  #: of their configurations, with dots

    def has(self, key: str) -> bool:
        """Whether runs have a key of `named_keys`; ``regex:...`` needs one that matches."""
        kind, _, name = key.partition(":")
        if kind == "config":
            return name in self.config
        if kind == "regex":
            return any(re.fullmatch(name, metric) for metric in self.metrics)
        return name in self.metrics


def logged_keys(*folders: str | PathLike[str]) -> LoggedKeys:
    """Return what the trainings in and below ``folders`` log with ``logger=wandb``, at least one of them each.

    An epoch's row has the columns of ``metrics.csv``, the best value so far of each figure on the held-out videos, and
    a histogram of the selected positions. A test has the figures of the run's own method, and three tables. A sweep
    that has ended has a table of its jobs.

    Raises:
        UsageError: see `find_runs`.
    """
    history = read_histories(*folders)
    names = {str(name) for name in history.columns[history.notna().any()]} - _OF_TABLES
    metrics = {*names, *(f"{name}_best" for name in names if name.startswith("val/"))}
    if any(name.startswith("train/position_share_") for name in names):
        metrics.add("train/selected_positions")
    configs, results = read_configs(*folders), read_results(*folders)
    for _, run in configs[configs["run"].isin(set(history["run"]))].iterrows():
        rows = results[results["run"] == run["run"]]
        prefix = prefix_of("val" if run.get("test.subset") == "val" else "test")
        figures = [name for name in (*HEADINGS, "gmacs") if name in rows and rows[name].notna().any()]
        tables = _tables(Path(run["folder"]), prefix) if len(rows) else ()
        metrics |= {f"{prefix}/{name}" for name in (*figures, *tables)}
    if any(_has_logged_its_end(Path(folder)) for folder in configs["folder"]):
        metrics.add("sweep/jobs")
    return LoggedKeys(frozenset(metrics), frozenset(map(str, configs.columns[configs.notna().any()])))


def _has_logged_its_end(job: Path) -> bool:
    """Return whether the sweep that a run is a job of has a run of its own."""
    return any(SweepFolder(folder).exists() and (folder / "wandb").is_dir() for folder in job.absolute().parents)


def _tables(run: Path, prefix: str) -> set[str]:
    """Return the names of the tables of a test: those in W&B's own folder where the run has one, else all."""
    wandb = run / "wandb"
    files = wandb.glob(f"*/files/media/table/{prefix}/*.table.json")
    return {_NUMBERED.sub("", file.name) for file in files} if wandb.is_dir() else set(_TABLES)


def named_keys(specification: Any) -> set[str]:
    """Return all keys that a workspace or report names, as ``metric:NAME``, ``config:NAME`` or ``regex:PATTERN``.

    >>> sorted(named_keys({"config": {"xAxis": "_step", "metrics": ["val/top1"]}, "grouping": [
    ...     {"section": "config", "name": "test.value.M"}]}))
    ['config:test.M', 'metric:val/top1']
    """
    return {key for key in _named(specification) if key.partition(":")[2] not in _RUN_ATTRIBUTES}


def _named(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _named(item)
    elif isinstance(node, dict):
        yield from _named_here(node)
        for item in node.values():
            yield from _named(item)


def _named_here(node: dict[str, Any]) -> Iterator[str]:
    """Yield the keys that a JSON object names itself, not in objects below it."""
    for name in ("xAxis", "yAxis", "zAxis", "accessor", "targetKey"):
        if isinstance(node.get(name), str):
            yield from _of_accessor(node[name])
    for name in ("metrics", "mediaKeys"):
        for key in node.get(name) or ():
            yield from _of_accessor(key)
    for name in ("columnPinned", "columnVisible"):
        for key in node.get(name) or ():
            yield from _of_accessor(key)
    if node.get("metricRegex"):
        yield f"regex:{node['metricRegex']}"
    if node.get("section") in ("config", "summary") and "name" in node:
        yield from _of_accessor(f"{node['section']}:{node['name']}")
    if node.get("name") == "tableKey":
        yield f"metric:{node['value']}"
    if node.get("nodeType") == "const" and node.get("type") == "string":
        yield f"metric:{node['val']}"


def _of_accessor(text: str) -> Iterator[str]:
    """Yield the key behind W&B's ``summary:NAME``, ``config:FIRST.value.REST``, or the name of a metric."""
    section, is_accessor, name = text.partition(":")
    if not is_accessor:
        yield f"metric:{text}"
    elif section == "summary":
        yield f"metric:{name}"
    elif section == "config":
        first, _, rest = name.partition(".value")
        yield f"config:{first}{rest}"
