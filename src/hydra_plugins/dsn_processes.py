"""Hydra's launcher for sweeps: each job in its own process, several at a time, with one live table.

Hydra finds launchers in this namespace only. A job is the command that a user would type for it alone, so a training
in several processes works as it does there, and no state passes from one job to the next. ``sweep.json`` in the
sweep's folder records every job with its state; a stopped sweep is resumed from it.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, configure_log, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from dsn_lightning.errors import UsageError
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.sweep_folder import SweepJob, SweepRecord


class ProcessLauncher(Launcher):
    """Runs jobs through `dsn_lightning.launch.sweep`.

    Args:
        jobs: how many run at the same time.
        resume: folder of a sweep to resume; None starts a new one.
    """

    def __init__(self, jobs: int = 1, resume: str | None = None) -> None:
        self.jobs = jobs
        self.resume = resume
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take over what Hydra composed."""
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; exit with 1 if one failed, 2 if a setting is wrong, 130 after Ctrl-C, 143 after SIGTERM."""
        from dsn_lightning.cli import PRELOAD  # here: Hydra imports this module at every start
        from dsn_lightning.cli.application import one_line_errors
        from dsn_lightning.launch.sweep import run_sweep

        assert self.config is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        planned = None
        if self.resume is None:
            jobs = [self._job(overrides, number) for number, overrides in enumerate(job_overrides, initial_job_idx)]
            planned = SweepRecord(jobs, config_arguments(self.config))
        with one_line_errors("dsn-train"):
            if isinstance(self.jobs, bool) or not isinstance(self.jobs, int) or self.jobs < 1:
                raise UsageError(f"sweep.jobs={self.jobs}: must be a whole number of at least 1")
            try:
                failed = run_sweep(
                    folder, planned, run_job, at_once=self.jobs, first_job=initial_job_idx, preload=PRELOAD
                )
            except KeyboardInterrupt:
                sys.exit(130)
        if failed:
            sys.exit(1)
        return []

    def _job(self, overrides: Sequence[str], number: int) -> SweepJob:
        job_config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(job_config):
            job_config.hydra.job.id = job_config.hydra.job.num = number
        return SweepJob(
            overrides=[o for o in filter_overrides(overrides) if not o.startswith("sweep.")],
            folder=str(OmegaConf.select(job_config, "hydra.sweep.subdir")),
        )


def config_arguments(config: DictConfig) -> list[str]:
    """Return the arguments of a command line that find the same configuration files, from any working folder."""
    arguments, searched = [], []
    for source in config.hydra.runtime.config_sources:
        path = os.path.abspath(source.path) if source.schema == "file" else source.path
        if source.provider == "command-line":
            arguments.append(f"--config-dir={path}")
        elif source.provider == "hydra.searchpath in command-line":
            quoted = path.replace("'", "\\'")
            searched.append(f"'{source.schema}://{quoted}'")
    arguments.append(f"--config-name={config.hydra.job.config_name}")
    return [*arguments, f"hydra.searchpath=[{','.join(searched)}]"] if searched else arguments


def run_job(arguments: Sequence[str], folder: str, group: str) -> None:
    """Run ``dsn-train`` in ``folder`` as part of the sweep ``group``, or continue what was interrupted there."""
    from dsn_lightning.cli import train

    os.environ["HYDRA_FULL_ERROR"] = "1"  # whoever reads the log of a failed job needs the traceback
    if RunFolder(Path(folder)).last_checkpoint.is_file():
        train.main([f"resume={folder}"])
    else:
        train.main([*arguments, f"sweep.group='{group}'", f"hydra.run.dir='{folder}'"])
