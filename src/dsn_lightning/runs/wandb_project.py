"""Reads runs from W&B's server with the account of the user: ``wandb:ENTITY/PROJECT``, all or those of one sweep.

Histories and tables are downloaded when they are needed. The server's answers are data, with the limits of files.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsn_lightning.errors import UsageError
from dsn_lightning.files import MAX_BYTES, check_nesting
from dsn_lightning.runs.tolerant_files import note_problem, read_json
from dsn_lightning.runs.wandb_account import has_account
from dsn_lightning.runs.wandb_files import SWEEP, StoredWandbRun, is_number, rows_of_table, table_path

if TYPE_CHECKING:
    import wandb

_PREFIX = "wandb:"
_SECONDS = 20  # that an attempt may take
_RETRIES = 2  # W&B takes 0 for its own default, which is many
_LONGEST_REASON = 300  # characters
_STATES = {
    "finished": "finished",
    "failed": "failed",
    "crashed": "killed",
    "killed": "stopped",
    "preempted": "stopped",
    "preempting": "running",
    "running": "running",
    "pending": "waiting",
}

_Json = dict[str, Any]


@dataclass
class ServerRun(StoredWandbRun):
    """A run on W&B's server. Its folder is its address, ``wandb:ENTITY/PROJECT/ID``.

    Attributes:
        source: W&B's own object.
        summary: last value of each figure.
    """

    source: Any = field(kw_only=True)
    summary: _Json = field(kw_only=True)

    @property
    def state(self) -> str:
        """As W&B has it, by the names of `StoredWandbRun` and of folders; ``failed`` includes what was stopped."""
        return _STATES.get(str(self.source.state), "unknown")

    def epochs(self) -> list[_Json]:
        """See `StoredWandbRun.epochs`.

        Raises:
            UsageError: W&B does not answer, or refuses.
        """
        with _one_line_errors(self.folder):
            self.history = [row for row in self.source.scan_history() if "epoch" in row]
        return super().epochs()

    def results(self) -> list[_Json]:
        """See `StoredWandbRun.results`.

        Raises:
            UsageError: W&B does not answer, or refuses.
        """
        path = table_path(self.summary)
        if path is None:
            return []
        with _one_line_errors(self.folder), tempfile.TemporaryDirectory() as folder:
            file = next(iter(self.source.files(names=[path])), None)
            if file is None or not 0 < file.size <= MAX_BYTES:
                reason = "missing" if file is None or not file.size else f"larger than {MAX_BYTES / 2**20:.4g} MiB"
                note_problem(self.folder / path, reason)
                return []
            file.download(folder).close()
            return rows_of_table(read_json(Path(folder, path)))


def is_on_server(given: str | PathLike[str]) -> bool:
    """Return whether this is the address of runs on W&B's server, not a folder.

    >>> is_on_server("wandb:me/clips"), is_on_server("wandb/offline-run-20260131_120000-abc")
    (True, False)
    """
    return fspath(given).startswith(_PREFIX)


def server_runs(given: str | PathLike[str]) -> list[ServerRun]:
    """Return the runs of ``wandb:ENTITY/PROJECT``, oldest first, or those of ``wandb:ENTITY/PROJECT/NAME``.

    NAME is the group of a sweep, or the id of a run. The ends of sweeps, which are runs in W&B as well, are left out.

    Raises:
        UsageError: no such address, no account, or no such project or run; W&B does not answer, or refuses.
    """
    entity, project, name = (*fspath(given).removeprefix(_PREFIX).split("/", 2), "", "")[:3]
    if not entity or not project:
        raise UsageError(f"{given}: expected wandb:ENTITY/PROJECT or wandb:ENTITY/PROJECT/NAME (a group or an id)")
    if not has_account():
        raise UsageError(f"{given}: no W&B account is set up; run `wandb login`")
    chosen = {"$or": [{"group": name}, {"name": name}]} if name else None
    with _one_line_errors(given):
        found = [run for run in _api().runs(f"{entity}/{project}", chosen, lazy=False) if run.job_type != SWEEP]
        if not found:
            raise UsageError(f"{given}: W&B has no such runs")
        return [_read(run, Path(f"{_PREFIX}{entity}/{project}/{run.id}")) for run in found]


def _api() -> "wandb.Api":
    """Return W&B's API with bounds on the time that requests take: W&B repeats some of them for a long time."""
    import wandb  # takes seconds

    settings = wandb.setup().settings
    bounds = {
        "x_graphql_timeout_seconds": _SECONDS,
        "x_graphql_retry_max": _RETRIES,
        "x_file_transfer_timeout_seconds": _SECONDS,
        "x_file_transfer_retry_max": _RETRIES,
    }
    before = {name: getattr(settings, name) for name in bounds}
    try:
        settings.update_from_dict(bounds)
        return wandb.Api(timeout=(_RETRIES + 1) * (_SECONDS + 10))  # keeps a copy of the settings
    finally:
        for name, value in before.items():
            setattr(settings, name, value)


def _read(source: Any, address: Path) -> ServerRun:
    summary = _within_limits(source.summary_metrics, address / "summary")
    internal = summary.get("_wandb")
    seconds: Any = internal.get("runtime") if isinstance(internal, dict) else None
    state = source.state
    return ServerRun(
        id=source.id,
        folder=address,
        job_type=source.job_type or "",
        config=_within_limits(source.config, address / "config"),
        started=_time(source.created_at),
        seconds=float(seconds) if is_number(seconds) else None,
        exit_code=0 if state == "finished" else None,
        source=source,
        summary=summary,
    )


def _within_limits(content: _Json, place: Path) -> _Json:
    """Return what a file of a run might hold; otherwise an empty dict, with a note."""
    try:
        check_nesting(content)
    except ValueError as error:
        note_problem(place, str(error))
        return {}
    if len(json.dumps(content)) > MAX_BYTES:
        note_problem(place, f"larger than {MAX_BYTES / 2**20:.4g} MiB")
        return {}
    return content


def _time(text: object) -> str | None:
    """Return W&B's time, which is in UTC, in ISO format with its offset.

    >>> _time("2026-01-31T12:00:00Z"), _time("2026-01-31T12:00:00"), _time(None)
    ('2026-01-31T12:00:00+00:00', '2026-01-31T12:00:00+00:00', None)
    """
    try:
        return datetime.fromisoformat(str(text).removesuffix("Z")).replace(tzinfo=UTC).isoformat()
    except ValueError:
        return None


@contextmanager
def _one_line_errors(given: str | PathLike[str]) -> Iterator[None]:
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    try:
        yield
    except UsageError:
        raise
    except (wandb.errors.Error, WandbApiFailedError, ValueError, TypeError, LookupError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{given}: W&B: {reason[:_LONGEST_REASON]}") from error
