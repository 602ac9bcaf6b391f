"""The W&B dashboard of the runs in some folders, and a report on each of their sweeps: built and checked."""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import pandas as pd
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from dsn_lightning.errors import UsageError, printable
from dsn_lightning.runs import KEYS, read_configs, read_results
from dsn_lightning.runs.wandb_project import is_on_server
from dsn_lightning.tracking.dashboard_panels import LoggedPanels, PanelSection, panel_sections
from dsn_lightning.tracking.logged_keys import logged_keys
from dsn_lightning.tracking.stored_views import check_view
from dsn_lightning.tracking.sweep_results import results_table, states_line

_NAME = "dsn_lightning"
_SETTINGS = ("M", "N", "gamma")  # runs that agree in these, and differ in the seed, are one group
_SHOWN = 'Metric("JobType") in ["train", "sweep"]'  # trainings, and the ends of sweeps
_ALSO = ("dataset.name", "algorithm.name", "backbone.name")  # and in these, where the runs differ in them
_MOST_LINES = 50  # of a panel; W&B shows ten unless told otherwise
_COLUMNS = ("val/top1_best", "test/top1", "test/map", "test/gmacs")  # of the table of runs, beside the settings


@dataclass(frozen=True)
class Dashboard:
    """A workspace, and the reports on sweeps by the name of the sweep."""

    workspace: ws.Workspace
    reports: dict[str, wr.Report]
    missing: Sequence[str]  #: keys that no run logs, and that are left out of the panels
    num_runs: int
    num_logged: int  #: runs with logger=wandb


def build_dashboard(folders: Sequence[str | PathLike[str]], *, entity: str, project: str) -> Dashboard:
    """Return the dashboard of the runs in and below ``folders``; without folders, with all keys that runs can have.

    Raises:
        UsageError: see `find_runs`.
    """
    for folder in filter(is_on_server, folders):
        raise UsageError(f"{folder}: expected a folder of runs or sweeps")
    keys, configs = (logged_keys(*folders), read_configs(*folders)) if folders else (None, pd.DataFrame())
    made = LoggedPanels(keys)
    sections = panel_sections(made)
    grouping = [name for name in _ALSO if name in configs and configs[name].nunique() > 1]
    grouping += made.logged(*_SETTINGS, kind="config")
    columns = ["run:displayName", "run:state", *(f"config:{name}.value" for name in made.logged(*KEYS, kind="config"))]
    columns += [f"summary:{name}" for name in made.logged(*_COLUMNS)]
    workspace = ws.Workspace(
        entity=entity,
        project=project,
        name=_NAME,
        sections=[ws.Section(name=one.name, panels=list(one.panels), is_open=True) for one in sections],
        settings=ws.WorkspaceSettings(max_runs=_MOST_LINES),
        runset_settings=ws.RunsetSettings(
            filters=_SHOWN,
            groupby=[expr.Config(name) for name in grouping],
            pinned_columns=columns,
        ),
    )
    reports = {}
    results = read_results(*folders) if folders else pd.DataFrame()
    for group, jobs in _sweeps(configs):
        runset = wr.Runset(
            name=group,
            filters=f'{_SHOWN} and Metric("Group") == {_quoted(group)}',
            groupby=[f"config.{name}" for name in grouping],
            pinned_columns=columns,
        )
        runset._id = "sweep"
        blocks = _blocks(sections, runset, jobs, results[results["run"].isin(jobs["run"])])
        reports[group] = wr.Report(entity=entity, project=project, title=f"Sweep {group}"[:128], blocks=blocks)
    num_logged = int(configs["logger.wandb._target_"].notna().sum()) if "logger.wandb._target_" in configs else 0
    found = Dashboard(workspace, reports, made.missing, len(configs), num_logged)
    for view in (workspace, *reports.values()):
        check_view(view, keys)
    return found


def _sweeps(configs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the jobs of each sweep, by the group that they have in W&B."""
    names = [name for name in ("logger.wandb.group", "sweep.group") if name in configs]
    members: dict[str, list[int]] = {}
    for number, groups in enumerate(configs[names].itertuples(index=False)):
        group = next((group for group in groups if isinstance(group, str) and group), None)
        if group is not None:
            members.setdefault(printable(group), []).append(number)
    return [(group, configs.iloc[numbers]) for group, numbers in members.items()]


def _quoted(text: str) -> str:
    """Return a text for a filter, with escapes for what wandb-workspaces would take for an operator or a quote.

    >>> _quoted("a/M=1")
    "'a/M\\\\U0000003d1'"
    """
    known = (c if c.isascii() and (c.isalnum() or c in " _-./") else f"\\U{ord(c):08x}" for c in text)
    return f"'{''.join(known)}'"


def _blocks(
    sections: Sequence[PanelSection], runset: wr.Runset, jobs: pd.DataFrame, results: pd.DataFrame
) -> list[Any]:
    """Return the contents of a report: the state of the jobs, a table of results, and the panels of each section."""
    blocks: list[Any] = [wr.TableOfContents(), wr.H1("Results"), wr.P(states_line(jobs))]
    if table := results_table(results):
        blocks.append(wr.MarkdownBlock(table))
    for section in sections:
        panels = wr.PanelGrid(runsets=[runset], panels=copy.deepcopy(list(section.panels)))  # are moved
        blocks += [wr.H1(section.name), wr.P(section.about), panels]
    return blocks


def report_name(group: str) -> str:
    """Return the name of the file of a sweep's report.

    >>> report_name("2026-01-31_12-00-00"), report_name("my sweep/2")
    ('report_2026-01-31_12-00-00.json', 'report_my_sweep_2.json')
    """
    return f"report_{re.sub(r'[^A-Za-z0-9.-]+', '_', group)}.json"
