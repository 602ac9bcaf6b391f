"""From settings to the loggers of a run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from dsn_lightning.config.build_part import build_part, build_source, raise_if_unknown
from dsn_lightning.config.resolvers import sweep_name
from dsn_lightning.config.setting_rules import Node, shown
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.trained import Trained
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.details import prefix_of
from dsn_lightning.launch.process_rank import process_rank
from dsn_lightning.runs.environment import git_commit, git_diff
from dsn_lightning.runs.exit_codes import sigterm_as_exit
from dsn_lightning.tracking.loggers import RunInfo, Tracker, finishing


@contextmanager
def tracked(
    settings: Settings, loggers: Mapping[str, Node] | None, *, job_type: str, runs: Mapping[str, Trained] | None = None
) -> Iterator[Tracker]:
    """Start a run's loggers (name -> node), and end them with its true exit code.

    Args:
        settings: of the run; they are logged.
        loggers: what each is built from.
        job_type: ``train`` or ``evaluate``.
        runs: that are evaluated, by name; their checkpoints are logged with the settings.
    """
    rank_zero_only.rank = process_rank()  # type: ignore[attr-defined]  # Lightning sets it later
    with sigterm_as_exit(), finishing(Tracker()) as tracker:
        if loggers:
            info = _run_info(settings, job_type, runs or {})
            for name, node in loggers.items():
                tracker.loggers.append(_logger(node, f"logger.{name}", info))
        yield tracker


def _logger(node: Node, key: str, info: RunInfo) -> Logger:
    try:
        logger = build_part(node, key)
        logger = logger(info) if isinstance(logger, partial) else logger
    except TypeError as error:
        raise_if_unknown(error, key)
        raise UsageError(f"{key}: cannot be built ({error})") from error
    if not isinstance(logger, Logger):
        raise UsageError(f"{key}: expected a Logger of Lightning, got {type(logger).__name__}; is logger= missing?")
    return logger


def _run_info(settings: Settings, job_type: str, runs: Mapping[str, Trained]) -> RunInfo:
    s = settings
    read = {name: {"path": str(run.path), "wandb_id": run.wandb_id} for name, run in runs.items()}
    of_training = (s.plain.get("sweep") or {}).get("group") if job_type == "train" else None
    in_sweep = (of_training or sweep_name()) is not None
    tested = "" if job_type == "train" else f" test {shown(s.plain['test']['M'])}:{s.test.N}"
    names = {"algorithm_name": s.algorithm.name, "dataset_name": s.dataset.name, "backbone_name": s.backbone.name}
    commit = git_commit()
    return RunInfo(
        folder=s.folder,
        config={**s.plain, **names, **({"checkpoints": read} if read else {})},
        job_type=job_type,
        name=f"{s.algorithm.name} {s.dataset.name} {s.M}:{s.N} gamma={s.gamma} seed={s.seed}{tested}",
        tags=list(dict.fromkeys(names.values())),
        commit=commit,
        diff=git_diff() if commit is not None and commit.endswith("-dirty") else None,
        figures=judged_by(s, job_type),
        one_of_many=in_sweep or Path(s.shared.folder).absolute() in s.folder.absolute().parents,
    )


def judged_by(settings: Settings, job_type: str) -> list[str]:
    """Return the names of the figures that a run is judged by: its test's, and the best one of the held-out videos.

    None where the data set cannot be built, which ends the run soon after.
    """
    try:
        metric = build_source(settings.dataset).metric
    except UsageError:
        return []
    best = [f"val/{metric}_best"] if job_type == "train" else []
    return [f"{prefix_of(settings.test.subset)}/{metric}", *best]
