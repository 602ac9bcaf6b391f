"""Hydra's launcher for sweeps: each job in its own process, several at a time, with one live table.

Hydra finds launchers in this namespace only. A job gets the configuration that the sweep composed for it, and runs as
the command that a user would type for it alone: a training in several processes works as it does there, and no state
passes from one job to the next. ``sweep.json`` in the sweep's folder records every job with its state; a stopped sweep
is resumed from it.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict

from dsn_lightning.errors import printable
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.sweep_folder import SweepFolder, SweepJob


class JobFailed(CompactHydraException):
    """What Hydra raises for a job that did not end well; a sweeper may go on without it."""


class ProcessLauncher(Launcher):
    """Runs jobs through `dsn_lightning.launch.sweep`; ``jobs`` of them at the same time."""

    def __init__(self, jobs: int = 1) -> None:
        self.jobs = jobs
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take over what Hydra composed."""
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and return the value of each, or why it failed.

        Raises:
            SystemExit: 2 if a setting is wrong, 130 after Ctrl-C, 143 after SIGTERM.
        """
        from dsn_lightning.cli import PRELOAD, train  # here: Hydra imports this module at every start
        from dsn_lightning.cli.application import one_line_errors
        from dsn_lightning.cli.composed import write_composed
        from dsn_lightning.config.values_from_videos import with_values_from_videos
        from dsn_lightning.launch.sweep import plan_sweep, run_sweep

        assert self.config is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        sweep = SweepFolder(Path(str(self.config.hydra.sweep.dir)).absolute())
        configs = [self._config(overrides, number) for number, overrides in enumerate(job_overrides, initial_job_idx)]
        planned = [_planned(config, overrides) for config, overrides in zip(configs, job_overrides, strict=True)]

        def write_jobs() -> None:
            for job, config in zip(planned, configs, strict=True):
                write_composed(with_values_from_videos(config), sweep.run(job).composed_yaml)

        with one_line_errors(train.COMMAND):
            plan_sweep(sweep, planned, continued=initial_job_idx > 0, write_jobs=write_jobs)
            try:
                jobs = run_sweep(sweep, train.run_job, at_once=self.jobs, first_job=initial_job_idx, preload=PRELOAD)
            except KeyboardInterrupt:
                sys.exit(130)
        failures = [None if job.state == "done" else f"job {job.name}: {job.state}" for job in jobs]
        runs = [sweep.run(job) for job in planned]
        returned = [_returned(config, run, why) for config, run, why in zip(configs, runs, failures, strict=True)]
        if "BasicSweeper" not in str(self.config.hydra.sweeper.get("_target_")):  # Hydra's grid needs no values
            _announce_missing_values(returned, runs)
        return returned

    def _config(self, overrides: Sequence[str], number: int) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config


def _planned(config: DictConfig, overrides: Sequence[str]) -> SweepJob:
    return SweepJob(
        overrides=[o for o in filter_overrides(overrides) if not o.startswith(("sweep.", "overwrite="))],
        folder=str(OmegaConf.select(config, "hydra.sweep.subdir")),
    )


def _returned(config: DictConfig, run: RunFolder, failure: str | None) -> JobReturn:
    """Return what Hydra's own launchers return for a job; its value is the best one of the held-out videos."""
    task = config.copy()
    with flag_override(task, ["readonly", "struct"], [False, False]):
        del task["hydra"]
    returned = JobReturn(
        overrides=list(config.hydra.overrides.task),
        cfg=task,
        hydra_cfg=OmegaConf.masked_copy(config, "hydra"),
        working_dir=os.getcwd(),
        task_name=config.hydra.job.name,
        status=JobStatus.COMPLETED if failure is None else JobStatus.FAILED,
    )
    returned.return_value = run.best_value() if failure is None else JobFailed(f"{failure}, see {run.log}")
    return returned


def _announce_missing_values(returned: Sequence[JobReturn], runs: Sequence[RunFolder]) -> None:
    for job, run in zip(returned, runs, strict=True):
        if job.status == JobStatus.COMPLETED and job.return_value is None:
            missing = "has no value for the sweeper, as its data set has no held-out videos"
            print(f"{printable(run.path)}: {missing}; see dataset.val_fraction", file=sys.stderr)
