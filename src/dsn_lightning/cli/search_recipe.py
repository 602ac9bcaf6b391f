"""A search: the settings of ``sweep``, a plan of the trials, and their jobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import configure_log, setup_globals
from omegaconf import DictConfig, OmegaConf

from dsn_lightning.cli import PRELOAD, train
from dsn_lightning.cli.composed import write_composed
from dsn_lightning.config.added_keys import closest
from dsn_lightning.config.composed_job import planned_job
from dsn_lightning.config.search_space import SearchSpace, search_space
from dsn_lightning.config.stored_search import check_of_stored, checked, is_kept
from dsn_lightning.config.values_from_videos import with_values_from_videos
from dsn_lightning.errors import UsageError
from dsn_lightning.launch.objectives import objectives_of
from dsn_lightning.launch.search import run_search
from dsn_lightning.launch.trial_study import PRUNERS, SAMPLERS, require_optuna
from dsn_lightning.runs.search_plan import SearchPlan, read_search_plan
from dsn_lightning.runs.sweep_folder import SweepFolder, SweepJob

Compose = Callable[[Sequence[str], int], DictConfig]
"""Returns the configuration of a job, called with its overrides and its number."""
_SUBDIR = "${hydra.job.num}"


def search(
    config: DictConfig, loader: ConfigLoader, arguments: Sequence[str], *, compose: Compose, at_once: int
) -> int:
    """Run a search, or go on with the one in its folder (``sweep.resume``); return the exit code.

    Args:
        config: what Hydra composed of the command line, without what is searched.
        loader: finds the configurations of groups.
        arguments: the overrides of the command line.
        compose: composes the configuration of a job.
        at_once: trials that run at the same time.

    Raises:
        UsageError: a setting is wrong.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    settings = OmegaConf.to_container(config.sweep, resolve=True)
    assert isinstance(settings, dict)
    _check(settings)
    if OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"] != _SUBDIR:  # type: ignore[index, call-overload]
        raise UsageError("hydra.sweep.subdir: the folders of a search are the numbers of its trials; leave it out")
    overrides = [argument for argument in arguments if not argument.startswith("sweep.resume=")]
    space = search_space(overrides, loader)
    metric = settings["metric"] if isinstance(settings["metric"], list) else [settings["metric"]]
    objectives = objectives_of(metric, subset=str(config.test.subset), tested=bool(config.test.enabled))
    if settings["pruner"] != "none" and not (len(objectives) == 1 and objectives[0].has_epochs):
        reason = "a pruner needs one figure that each epoch has; choose sweep.metric=best or val/..."
        raise UsageError(f"sweep.pruner={settings['pruner']}: {reason}")
    plan = SearchPlan(
        arguments=[argument for argument in overrides if is_kept(argument)],
        config_name=str(config.hydra.job.config_name),
        space=space.distributions,
        metric=[str(name) for name in metric],
        **{name: settings[name] for name in ("sampler", "pruner", "seed", "trials")},
    )
    sweep = SweepFolder(Path(str(config.hydra.sweep.dir)).absolute())
    is_stored = settings["resume"] is not None
    _begin(sweep, config, plan, is_stored=is_stored)
    trusted = [str(name) for name in config.trust]
    plan_trial = _TrialPlanner(sweep, space, compose, trusted if is_stored else None, _given(config))
    run_job = partial(train.resume_job, given=_given(config)) if is_stored else train.run_job
    try:
        jobs = run_search(sweep, plan, objectives, plan_trial, run_job, at_once=at_once, preload=PRELOAD)
    except KeyboardInterrupt:
        return 130
    return int(any(job.state == "failed" for job in jobs))


def _check(settings: Mapping[Any, Any]) -> None:
    """Refuse values of the keys of ``sweep`` that no search can have."""
    for key, known in (("sampler", ("grid", *SAMPLERS)), ("pruner", PRUNERS)):
        if settings[key] not in known:
            hint = closest(str(settings[key]), known)
            raise UsageError(f"sweep.{key}={settings[key]}: must be {', '.join(known)}{hint}")
    for key, least in (("trials", 1), ("seed", 0)):
        if type(settings[key]) is not int or settings[key] < least:
            raise UsageError(f"sweep.{key}={settings[key]}: must be a whole number of at least {least}")
    require_optuna(settings["sampler"])


def _begin(sweep: SweepFolder, config: DictConfig, plan: SearchPlan, *, is_stored: bool) -> None:
    """Record what is searched; a search that goes on keeps its rules."""
    old = read_search_plan(sweep.search_json) if is_stored else None
    if is_stored and old is None:
        raise UsageError(f"sweep.resume={sweep.path}: there is no search in this folder")
    if old is not None:
        kept = replace(plan, arguments=old.arguments, trials=old.trials)
        changed = [name for name in vars(old) if getattr(kept, name) != getattr(old, name)]
        if changed:
            reason = f"the configurations no longer give its {changed[0]}; begin a new search"
            raise UsageError(f"sweep.resume={sweep.path}: {sweep.search_json.name}: {reason}")
        replace(old, trials=plan.trials).write(sweep.search_json)
        return
    sweep.refuse_existing()
    sweep.path.mkdir(parents=True, exist_ok=True)
    sweep.search_journal.unlink(missing_ok=True)  # of a search that was killed before its first trial
    OmegaConf.save(config, sweep.multirun_yaml)
    plan.write(sweep.search_json)


@dataclass(frozen=True)
class _TrialPlanner:
    """Plans a trial: composes its configuration and writes it to its folder."""

    sweep: SweepFolder
    space: SearchSpace
    compose: Compose
    trusted: list[str] | None  # packages; None where the command line gave all settings
    given: Sequence[str]  # flags that name folders of configurations

    def __call__(self, number: int, parameters: Mapping[str, Any]) -> SweepJob:
        overrides = self.space.overrides(parameters)
        if self.trusted is not None:
            checked(
                self.space.searched(parameters), where=f"{self.sweep.search_journal}: trial {number}", given=self.given
            )
        config = self.compose(overrides, number)
        job = planned_job(config, overrides)
        trusted = self.trusted
        check = (lambda _: None) if trusted is None else partial(check_of_stored, self.sweep, trusted=trusted)
        write_composed(with_values_from_videos(config, check=check), self.sweep.run(job).composed_yaml)
        return job


def _given(config: DictConfig) -> list[str]:
    """Return what the jobs of a search that goes on are given: folders of plug-ins, and packages to trust."""
    sources = config.hydra.runtime.config_sources
    folders = [source.path for source in sources if source.provider == "command-line" and source.schema == "file"]
    lists = {"hydra.searchpath": config.hydra.searchpath, "trust": config.trust}
    quoted = {key: ",".join(f"'{value}'" for value in values) for key, values in lists.items() if values}
    return [*(f"--config-dir={folder}" for folder in folders), *(f"{key}=[{text}]" for key, text in quoted.items())]
