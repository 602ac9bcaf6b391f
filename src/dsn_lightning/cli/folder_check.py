"""Refuses a folder that holds another run or sweep, before Hydra or this package writes to it."""

import tempfile
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from dsn_lightning.cli.application import one_line_errors
from dsn_lightning.errors import UsageError, printable
from dsn_lightning.launch.process_rank import process_rank
from dsn_lightning.runs.run_folder import LockedFolder, RunFolder, moved_aside
from dsn_lightning.runs.status import was_requeued
from dsn_lightning.runs.sweep_folder import SweepFolder

_NEEDED_BYTES = 65_536  # for configurations and states


class RefuseUsedFolder(Callback):
    """Hydra's callback at the start of a command: a folder in use is refused, or moved aside with ``overwrite=true``.

    A resumed run has no callbacks, as its configuration is that of its folder; a requeued job goes on with its run.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check ``hydra.run.dir``; the run begins with a new W&B id."""
        if process_rank():  # only the first process writes
            return
        with one_line_errors(str(config.hydra.job.name)):
            run = RunFolder(Path(str(config.hydra.run.dir)))
            if was_requeued(run):
                return
            if not _moved(run, config):
                run.refuse_existing(where=f"hydra.run.dir={run.path}")
            _check_writable(run.path, "hydra.run.dir")
            run.wandb_id.unlink(missing_ok=True)  # of a run that failed before it had a result

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check ``hydra.sweep.dir``, unless a search goes on there."""
        with one_line_errors(str(config.hydra.job.name)):
            sweep = SweepFolder(Path(str(config.hydra.sweep.dir)))
            if OmegaConf.select(config, "sweep.resume") == str(sweep.path):
                return
            if not _moved(sweep, config):
                sweep.refuse_existing()
            _check_writable(sweep.path, "hydra.sweep.dir")


def _moved(folder: RunFolder | SweepFolder, config: DictConfig) -> bool:
    """Move a folder in use aside if ``overwrite=true``, and say where it is now."""
    overwrite = OmegaConf.select(config, "overwrite")
    if not isinstance(overwrite, bool):
        raise UsageError(f"overwrite={overwrite}: must be true or false")
    if not overwrite or not folder.is_used():
        return False
    _check_movable(folder)
    print(printable(f"moved {folder.path} to {moved_aside(folder.path)}"), flush=True)
    return True


def _check_writable(folder: Path, key: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0" * _NEEDED_BYTES)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{key}={folder}: cannot be written ({reason}); free some space or choose another") from error


def _check_movable(folder: LockedFolder) -> None:
    if folder.is_held():
        raise UsageError(f"{folder.path}: another process is working in this folder")
    if Path.cwd().is_relative_to(folder.path.resolve()):
        raise UsageError(f"overwrite=true: cannot move {folder.path}, which contains the current folder")
