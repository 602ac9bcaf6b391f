"""Hydra's launcher for sweeps: each job in a process of its own, several at a time, with one live table.

Hydra finds launchers in this namespace only. What a job is: the command that a user would type for it alone, so a
multi-process training works as it does there, and nothing leaks from one job into the next. ``sweep.json`` in the
sweep's folder holds every job with its state; the same file brings the sweep to its end after it was stopped.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, configure_log, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict


class ProcessLauncher(Launcher):
    """Runs jobs through `dsn_lightning.launch.jobs`.

    Args:
        jobs: how many run at the same time.
        resume: folder of a sweep to bring to its end; None starts a new one.
    """

    def __init__(self, jobs: int = 1, resume: str | None = None) -> None:
        self.jobs = jobs
        self.resume = resume
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take over what Hydra has composed."""
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and return when all have ended.

        Raises:
            SystemExit: code 1, when a job has failed; 2, when the settings make no sense.
        """
        from dsn_lightning.commands.sweep import run_sweep  # Hydra imports this module at every start

        assert self.config is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        folder = Path(str(self.config.hydra.sweep.dir)).absolute()
        jobs: list[dict[str, Any]] = []
        for index, overrides in enumerate(job_overrides, start=initial_job_idx):
            job_config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(job_config):
                job_config.hydra.job.id = index
                job_config.hydra.job.num = index
            jobs.append({
                "overrides": [o for o in filter_overrides(overrides) if not o.startswith("sweep.")],
                "folder": str(OmegaConf.select(job_config, "hydra.sweep.subdir")),
            })  # fmt: skip
        resume = self.resume is not None
        run_sweep(folder, jobs, at_once=self.jobs, resume=resume, first_job=0 if resume else initial_job_idx)
        return []
