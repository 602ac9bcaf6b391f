"""dsn-train: one training, a sweep, or the rest of either."""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from dsn_lightning.cli import PRELOAD
from dsn_lightning.cli.application import ctrl_c_as_exit, one_line_errors, run_hydra
from dsn_lightning.cli.sweep_end import log_end, logged_end
from dsn_lightning.config import arguments as rewrite
from dsn_lightning.config.added_keys import refuse_unknown_keys
from dsn_lightning.config.compose import add_plug_ins_of_application, config_folder, plain
from dsn_lightning.config.quick_imports import quick_imports
from dsn_lightning.config.recipes import choose_recipe
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.stored_search import search_to_resume
from dsn_lightning.config.values_from_videos import with_values_from_videos
from dsn_lightning.launch.objectives import BEST, objectives_of, values_of
from dsn_lightning.runs.run_folder import RunFolder

COMMAND = "dsn-train"

_STOPPED = "resume=RUN_DIR goes on from its last checkpoint"


@hydra.main(version_base="1.3", config_path=config_folder(), config_name="train")
def application(cfg: DictConfig) -> float | list[float] | None:
    """Read and check the settings, then train; return the figures of ``sweep.metric``, for Hydra's sweepers."""
    with one_line_errors(COMMAND):
        add_plug_ins_of_application()
        content = plain(with_values_from_videos(cfg))
        settings = Settings.of(content)
        sweep, test = content.get("sweep"), settings.test  # a stored configuration may lack it
        metric = sweep.get("metric", BEST) if isinstance(sweep, dict) else BEST
        objectives = objectives_of(metric, subset=test.subset, tested=test.enabled)

        with quick_imports():
            from dsn_lightning.cli.train_recipe import train  # takes seconds

        train(settings)
    return values_of(objectives, RunFolder(settings.folder))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; without arguments, with those of the process."""
    given = sys.argv[1:] if arguments is None else arguments
    with one_line_errors(COMMAND):
        sweep = rewrite.sweep_to_resume(given)
        search = None if sweep is None else search_to_resume(sweep)
        if sweep is not None and search is None:
            _resume_sweep(sweep)
        given = rewrite.rewritten(
            search or given,
            rewrite.quote_pattern,
            rewrite.continue_run,
            rewrite.without_run_folder,
            choose_recipe,
            refuse_unknown_keys(Settings, "train"),
        )
    with logged_end():
        run_hydra(COMMAND, application, given, stopped=_STOPPED)


def _resume_sweep(sweep: rewrite.StoredSweep) -> NoReturn:
    from dsn_lightning.launch.sweep import run_sweep

    try:
        resume = partial(resume_job, given=sweep.given)
        jobs = run_sweep(sweep.folder, resume, at_once=sweep.at_once, preload=PRELOAD)
    except KeyboardInterrupt:
        sys.exit(130)
    log_end(sweep.folder)
    sys.exit(int(any(job.state != "done" for job in jobs)))


def run_job(folder: str, sweep: str) -> None:
    """Run a job of a new sweep with the configuration that this sweep has composed and written a moment ago."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # whoever reads the log of a failed job needs the traceback
    from dsn_lightning.cli.composed import run_composed

    with ctrl_c_as_exit(COMMAND, _STOPPED):
        run_composed(application, RunFolder(Path(folder)).composed_yaml, sweep=Path(sweep))


def resume_job(folder: str, sweep: str, *, given: Sequence[str]) -> None:
    """Run a job of a stored sweep: continue what was interrupted there, or begin what has no checkpoint yet.

    ``given`` are flags that name plug-ins, and packages to trust.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"
    if RunFolder(Path(folder)).was_saved():
        main([f"resume={folder}", *given])
        return
    with one_line_errors(COMMAND):
        arguments = rewrite.without_run_folder(rewrite.begin_job(Path(folder), Path(sweep), given))
    run_hydra(COMMAND, application, arguments, stopped=_STOPPED)
