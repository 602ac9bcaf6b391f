"""dsn-dashboard: the W&B workspace of runs, and a report on each of their sweeps, as code."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsn_lightning.cli.application import ctrl_c_as_exit, one_line_errors
from dsn_lightning.cli.plain_arguments import parse_words
from dsn_lightning.config.quick_imports import quick_imports
from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import links_stay_inside, user_path, write_json
from dsn_lightning.runs.tolerant_files import read_json

COMMAND = "dsn-dashboard"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        COMMAND,
        description="Makes the W&B workspace of runs, and a report on each of their sweeps. Publishes both if a W&B "
        "account is set up. Without an account, or with WANDB_MODE=offline, it writes and checks their specifications.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    folders = "folder that holds runs or sweeps, whose keys are shown (default: all keys that runs can have)"
    parser.add_argument("folders", nargs="*", metavar="DIR", help=folders)
    parser.add_argument("--output", default="dashboard", metavar="DIR", help="folder to write to (default: dashboard)")
    entity = "user or team in W&B (default: the account's)"
    parser.add_argument("--entity", metavar="NAME", help=entity)
    project = "project in W&B (default: WANDB_PROJECT, or else dsn_lightning)"
    parser.add_argument("--project", metavar="NAME", help=project)
    return parser


def dashboard(words: Sequence[str]) -> None:
    """Run dsn-dashboard with these arguments, and print what was written or published."""
    arguments = parse_words(_parser(), words, keys=("output", "entity", "project"))
    with links_stay_inside([user_path(folder) for folder in arguments.folders]):
        _dashboard(arguments)


def _dashboard(arguments: argparse.Namespace) -> None:
    os.environ.setdefault("WANDB_SILENT", "true")  # the addresses are printed below
    with quick_imports():
        from dsn_lightning.runs.wandb_account import choose_mode, project_name, setting  # takes seconds

        try:
            import wandb_workspaces  # noqa: F401
        except ModuleNotFoundError as error:
            remedy = "pip install 'dsn-lightning[dashboard]'"
            raise UsageError(f"{COMMAND}: wandb-workspaces is not installed; {remedy}") from error
        from dsn_lightning.tracking import dashboards, stored_views

    online = choose_mode("auto") == "online"
    entity = arguments.entity or setting("entity") or (stored_views.default_entity() if online else "")
    project = project_name(arguments.project)
    made = dashboards.build_dashboard(arguments.folders, entity=entity, project=project)
    if arguments.folders:
        print(f"runs: {made.num_runs} ({made.num_logged} with logger=wandb), sweeps: {len(made.reports)}")
    if made.missing:
        print(f"left out, as no run logs it: {printable(', '.join(made.missing))}")
    output = user_path(arguments.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        file = output / "workspace.json"
        url = None
        if online:
            url = stored_views.publish_workspace(made.workspace, earlier=_earlier(file, entity, project))
        _write(file, stored_views.stored(made.workspace), url)
        for group, report in made.reports.items():
            url = stored_views.publish_report(report) if online else None
            _write(output / dashboards.report_name(group), stored_views.stored(report), url)
    except OSError as error:
        raise UsageError(f"output={arguments.output}: cannot be written to ({error.strerror or error})") from error


def _earlier(file: Path, entity: str, project: str) -> str | None:
    """Return the address of the workspace that the file describes, if it was published to the same project."""
    content = read_json(file)
    if not isinstance(content, dict) or (content.get("entity"), content.get("project")) != (entity, project):
        return None
    return content["url"] if isinstance(content.get("url"), str) else None


def _write(file: Path, content: dict[str, Any], url: str | None) -> None:
    """Write a specification, and print where it is."""
    write_json(file, {"url": url, **content})
    print(printable(f"written: {file}" if url is None else f"published: {url} ({file})"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; without arguments, with those of the process."""
    with ctrl_c_as_exit(COMMAND, "run the same command again"), one_line_errors(COMMAND):
        dashboard(sys.argv[1:] if arguments is None else arguments)
