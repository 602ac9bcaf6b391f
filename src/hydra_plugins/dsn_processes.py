"""Hydra's launcher for sweeps, each job in its own process, several at a time, with one live table; and the sweeper.

Hydra finds plug-ins in this namespace only. A job gets the configuration that the sweep composed for it, and runs as
the command that a user would type for it alone: a training in several processes works as it does there, and no state
passes from one job to the next. ``sweep.json`` in the sweep's folder records every job with its state; a stopped sweep
is resumed from it.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict

from dsn_lightning.errors import UsageError, printable
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from dsn_lightning.launch.objectives import Objective

_GRIDS = ("BasicSweeper", "TrialSweeper")


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
        from dsn_lightning.config.composed_job import planned_job
        from dsn_lightning.config.values_from_videos import with_values_from_videos
        from dsn_lightning.launch.objectives import missing_value, values_of
        from dsn_lightning.launch.sweep import plan_sweep, run_sweep

        assert self.config is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        sweep = SweepFolder(Path(str(self.config.hydra.sweep.dir)).absolute())
        configs = [self.compose(overrides, number) for number, overrides in enumerate(job_overrides, initial_job_idx)]
        planned = [planned_job(config, overrides) for config, overrides in zip(configs, job_overrides, strict=True)]

        def write_jobs() -> None:
            for job, config in zip(planned, configs, strict=True):
                write_composed(with_values_from_videos(config), sweep.run(job).composed_yaml)

        with one_line_errors(train.COMMAND):
            objectives = [_objectives(config) for config in configs]
            plan_sweep(sweep, planned, continued=initial_job_idx > 0, write_jobs=write_jobs)
            try:
                jobs = run_sweep(sweep, train.run_job, at_once=self.jobs, first_job=initial_job_idx, preload=PRELOAD)
            except KeyboardInterrupt:
                sys.exit(130)
        failures = [None if job.state == "done" else f"job {job.name}: {job.state}" for job in jobs]
        runs = [sweep.run(job) for job in planned]
        values = [values_of(named, run) for named, run in zip(objectives, runs, strict=True)]
        parts = zip(configs, runs, values, failures, strict=True)
        returned = [_returned(config, run, value, why) for config, run, value, why in parts]
        if not str(self.config.hydra.sweeper.get("_target_")).endswith(_GRIDS):  # which need no values
            for run, named, why in zip(runs, objectives, failures, strict=True):
                if why is None and (missing := missing_value(named, run)):
                    print(f"{printable(run.path)}: {missing}", file=sys.stderr)
        return returned

    def compose(self, overrides: Sequence[str], number: int) -> DictConfig:
        """Return the configuration of a job with these overrides, whose number it is."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config


class TrialSweeper(BasicSweeper):
    """Hydra's own sweeper with ``sweep.sampler=grid``; with another sampler, `dsn_lightning.cli.search_recipe`."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs.

        Raises:
            SystemExit: 2 if a setting is wrong, 1 if a trial failed, 130 after Ctrl-C, 143 after SIGTERM.
        """
        from dsn_lightning.cli.application import one_line_errors  # here: Hydra imports this module at every start

        assert self.config is not None
        assert self.hydra_context is not None
        loader, launcher = self.hydra_context.config_loader, self.launcher
        given = [*self._parse_config(), *arguments]
        is_grid = self.config.sweep.sampler == "grid"
        with one_line_errors(str(self.config.hydra.job.name)):
            if is_grid:
                _check_grid(
                    OverridesParser.create(config_loader=loader).parse_overrides(given), self.config.sweep.pruner
                )
        if is_grid:
            return super().sweep(arguments)
        from dsn_lightning.cli.search_recipe import search

        with one_line_errors(str(self.config.hydra.job.name)):
            if not isinstance(launcher, ProcessLauncher):
                raise UsageError(
                    f"sweep.sampler={self.config.sweep.sampler}: a search starts its jobs itself, in processes of this "
                    "machine; leave hydra/launcher out"
                )
            sys.exit(search(self.config, loader, given, compose=launcher.compose, at_once=launcher.jobs))


def _check_grid(overrides: Sequence[Override], pruner: str) -> None:
    """Refuse what only a search can do."""
    if pruner != "none":
        raise UsageError(f"sweep.pruner={pruner}: a grid trains each job to its end; search with sweep.sampler=tpe")
    for override in overrides:
        if override.is_interval_sweep():
            remedy = "list its values, or search with sweep.sampler=tpe"
            raise UsageError(f"{override.input_line}: a grid needs separate values; {remedy}")


def _objectives(config: DictConfig) -> "list[Objective]":
    from dsn_lightning.launch.objectives import objectives_of

    metric = OmegaConf.to_container(config.sweep, resolve=True)["metric"]  # type: ignore[index, call-overload]
    return objectives_of(metric, subset=str(config.test.subset), tested=bool(config.test.enabled))


def _returned(config: DictConfig, run: RunFolder, value: object, failure: str | None) -> JobReturn:
    """Return what Hydra's own launchers return for a job, with its value."""
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
    returned.return_value = value if failure is None else JobFailed(f"{failure}, see {run.log}")
    return returned
