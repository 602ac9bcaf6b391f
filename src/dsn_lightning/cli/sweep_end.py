"""The W&B run of a sweep: its jobs with their states and values, logged when it ends."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from dsn_lightning.errors import printable
from dsn_lightning.runs.exit_codes import STOPPED_BY_CTRL_C, STOPPED_BY_SIGTERM
from dsn_lightning.runs.sweep_folder import SweepFolder, SweepRecord, common_overrides
from dsn_lightning.runs.tolerant_files import read_yaml

_TAKEN_OVER = ("project", "entity", "group", "tags", "notes", "mode", "alerts")
"""What the run of a sweep takes from the ``logger.wandb`` of its jobs."""
_WANDB_RUN = "dsn_lightning.tracking.WandbRun"


class SweepStart(Callback):
    """Hydra's callback that learns which sweep a command begins, whatever sweeper and launcher run it."""

    folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the folder of the sweep."""
        SweepStart.folder = Path(str(config.hydra.sweep.dir)).absolute()


@contextmanager
def logged_end() -> Iterator[None]:
    """Log the sweep that began in the block (`SweepStart`), unless Ctrl-C or SIGTERM has stopped it."""
    SweepStart.folder = None
    try:
        yield
    except SystemExit as end:
        if end.code not in (STOPPED_BY_CTRL_C, STOPPED_BY_SIGTERM):
            _log_begun()
        raise
    _log_begun()


def _log_begun() -> None:
    if SweepStart.folder is not None:
        log_end(SweepFolder(SweepStart.folder))


def log_end(sweep: SweepFolder) -> None:
    """Log the end of a sweep to W&B, if its jobs are logged there; a resumed sweep goes on with its run.

    The run has the job type ``sweep``, the group of the jobs, the table ``sweep/jobs``, and the counts
    ``sweep/finished``, ``sweep/failed``, ``sweep/stopped`` and those of other states.
    """
    try:
        record = sweep.read()
        node = _wandb_node(sweep, record)
        has_ended = not any(job.state in ("waiting", "running") for job in record.jobs)
        if node is not None and has_ended:
            _log(sweep, record, {name: node[name] for name in _TAKEN_OVER if node.get(name) is not None})
    except Exception as error:  # the sweep has ended, whatever becomes of its record in W&B
        reason = " ".join(str(error).split())
        print(printable(f"W&B: the end of the sweep could not be logged: {reason}"), file=sys.stderr)


def _wandb_node(sweep: SweepFolder, record: SweepRecord) -> dict[str, Any] | None:
    """Return the ``logger.wandb`` that a job was composed with; the sweep's run is built from its plain values."""
    for job in record.jobs:
        composed = read_yaml(sweep.run(job).composed_yaml)
        loggers = composed.get("logger") if isinstance(composed, dict) else None
        node = loggers.get("wandb") if isinstance(loggers, dict) else None
        return node if isinstance(node, dict) and node.get("_target_") == _WANDB_RUN else None
    return None


def _log(sweep: SweepFolder, record: SweepRecord, options: dict[str, Any]) -> None:
    from dsn_lightning.launch.sweep import tested_value  # these take seconds
    from dsn_lightning.runs.environment import git_commit
    from dsn_lightning.tracking.loggers import RunInfo, WandbRun

    common = common_overrides(record.jobs) if len(record.jobs) > 1 else set()
    jobs = []
    for number, job in enumerate(record.jobs):
        run = sweep.run(job)
        tested = tested_value(run) if job.state == "done" else None
        name = job.name(number, without=common)
        jobs.append([name, job.state, job.exit_code, " ".join(job.overrides), run.best_value(), tested])
    states = Counter(job.state for job in record.jobs)
    known = {"finished": states.pop("done", 0), "failed": states.pop("failed", 0), "stopped": states.pop("stopped", 0)}
    counts = known | states
    info = RunInfo(
        sweep.path,
        {"num_jobs": len(jobs), "common_overrides": sorted(common)},
        "sweep",
        f"sweep {sweep.path.name}",
        [],
        git_commit(),
        one_of_many=True,
    )
    alerts = options.get("alerts") or []
    sent = [kind for kind in ([alerts] if isinstance(alerts, str) else alerts) if kind == "sweep"]
    logged = WandbRun(info, **{"group": sweep.path.name, **options, "name": info.name, "alerts": sent})
    try:
        logged.log_sweep(jobs, counts)
    finally:
        logged.finish(int(any(counts.get(state) for state in ("failed", "stopped", "skipped"))))
