"""Workspaces and reports as W&B stores them: checked without an account, and published with one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import requests
import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from pydantic import ValidationError
from wandb.sdk.lib.service.service_connection import WandbApiFailedError
from wandb_workspaces.reports.v2.internal import ReportViewspec
from wandb_workspaces.workspaces.errors import SpecVersionError, UnsupportedViewError
from wandb_workspaces.workspaces.internal import View

from dsn_lightning.errors import UsageError
from dsn_lightning.tracking.logged_keys import LoggedKeys, named_keys


def stored(view: ws.Workspace | wr.Report) -> dict[str, Any]:
    """Return a workspace or a report as W&B stores it: its names, and the specification as JSON."""
    content: dict[str, Any] = view._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return content


def check_view(view: ws.Workspace | wr.Report, keys: LoggedKeys | None) -> None:
    """Check that wandb-workspaces reads a specification back with the same keys, and that all of them are logged.

    Args:
        view: to check.
        keys: that are logged; None: whatever the view names.

    Raises:
        UsageError: the installed wandb-workspaces does not read what it has written.
    """
    content = stored(view)
    named = named_keys(content)
    assert keys is None or all(keys.has(key) for key in named), f"not logged: {named}"
    unreadable = f"wandb-workspaces {version('wandb-workspaces')}: does not read back what it writes"
    try:
        again = named_keys(stored(read_view(type(view), content)))
    except ValidationError as error:
        raise UsageError(f"{unreadable} ({error})") from error
    if again != named:
        raise UsageError(f"{unreadable}; keys that differ: {', '.join(sorted(again ^ named))}")


def read_view(kind: type[ws.Workspace | wr.Report], content: dict[str, Any]) -> ws.Workspace | wr.Report:
    """Return the workspace or the report that `stored` has returned."""
    text = json.dumps(content)
    if issubclass(kind, ws.Workspace):
        return ws.Workspace._from_model(View.model_validate_json(text))
    return wr.Report._from_model(ReportViewspec.model_validate_json(text))


def default_entity() -> str:
    """Return the user or team that the account logs to by default.

    Raises:
        UsageError: W&B does not answer, or does not know the account.
    """
    with _one_line_errors():
        entity: str | None = wandb.Api().default_entity
    if not entity:
        raise UsageError("entity: the W&B account has no default; name a user or a team, entity=NAME")
    return entity


def publish_workspace(workspace: ws.Workspace, *, earlier: str | None) -> str:
    """Save a workspace and return its address.

    Args:
        workspace: to save.
        earlier: address of a workspace that this one replaces; a new one is made if that cannot be read any more.

    Raises:
        UsageError: W&B does not answer, or refuses.
    """
    with _one_line_errors():
        _make_project(workspace.entity, workspace.project)
        if earlier is not None:
            try:
                found = ws.Workspace.from_url(earlier)
            except (ValueError, SpecVersionError, UnsupportedViewError):  # deleted, or made by a newer W&B
                found = None
            if found is not None:
                workspace._internal_name, workspace._internal_id = found._internal_name, found._internal_id
        return str(workspace.save().url)


def publish_report(report: wr.Report) -> str:
    """Save a report as a new draft and return its address; earlier ones stay.

    Raises:
        UsageError: W&B does not answer, or refuses.
    """
    with _one_line_errors():
        return str(report.save(draft=True).url)


def _make_project(entity: str, project: str) -> None:
    api = wandb.Api()
    if project not in {found.name for found in api.projects(entity)}:
        api.create_project(project, entity)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (wandb.errors.Error, WandbApiFailedError, requests.RequestException) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"W&B: {reason}; WANDB_MODE=offline writes the specification only") from error
