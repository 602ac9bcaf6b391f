"""Rewrites the arguments of a command into those that Hydra reads."""

import os
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsn_lightning.config.stored_places import refuse_links
from dsn_lightning.config.stored_run import choose_stored
from dsn_lightning.errors import UsageError
from dsn_lightning.files import user_path
from dsn_lightning.launch.process_rank import process_rank
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.sweep_folder import SweepFolder
from dsn_lightning.runs.tolerant_files import read_json, read_yaml

_FREE_WHEN_RESUMED = (
    "progress=",
    "num_workers=",
    "test.",
    "checkpoint.every_n_batches=",
    "trainer.max_time=",
    "logger.",
    "hydra.searchpath=",
    "trust=",
)
"""Prefixes of the keys that may change when a run is resumed, because they do not affect its result."""

_PLUG_INS = ("--config-dir", "-cd")


def rewritten(arguments: Sequence[str], *steps: Callable[[list[str]], list[str]]) -> list[str]:
    """Return the arguments after all steps, in order."""
    result = list(arguments)
    for step in steps:
        result = step(result)
    return result


def quote_pattern(arguments: list[str]) -> list[str]:
    """Quote the regular expression of ``dataset.group``, which Hydra would otherwise try to parse.

    >>> quote_pattern(["dataset.group=^[a-z]+", "M=3"])
    ["dataset.group='^[a-z]+'", 'M=3']
    """
    key = "dataset.group="
    return [
        f"{key}'{value}'" if a.startswith(key) and (value := a.removeprefix(key))[:1] not in ("", "'", '"') else a
        for a in arguments
    ]


def add_networks(arguments: list[str]) -> list[str]:
    """Let ``networks.NAME=PATH`` add a name that ``conf/evaluate.yaml`` does not have.

    >>> add_networks(["networks.mine=a.ckpt", "seed=1"])
    ['++networks.mine=a.ckpt', 'seed=1']
    """
    return [f"++{a}" if a.startswith("networks.") else a for a in arguments]


def without_observation(arguments: list[str]) -> list[str]:
    """Turn ``observation=null`` or ``none`` into Hydra's syntax for removing a group from the defaults list.

    >>> without_observation(["observation=null"])
    ['~observation']
    """
    return ["~observation" if a in ("observation=null", "observation=none") else a for a in arguments]


def without_run_folder(arguments: list[str]) -> list[str]:
    """Keep Hydra from writing to the run's folder in all processes but the first."""
    if process_rank() == 0:
        return arguments
    has_folder = any(argument.startswith("hydra.run.dir=") for argument in arguments)
    elsewhere = [] if has_folder else [f"hydra.run.dir='{tempfile.gettempdir()}'"]
    return [*arguments, *elsewhere, "hydra.output_subdir=null", "hydra/job_logging=none"]


def continue_run(arguments: list[str]) -> list[str]:
    """Turn ``resume=RUN_DIR`` into the arguments that give that run's configuration."""
    given = [a for a in arguments if a.startswith("resume=") and a not in ("resume=", "resume=null")]
    if not given:
        return arguments
    folder = user_path(given[-1].removeprefix("resume=")).absolute()
    flags, rest = _plug_in_flags([a for a in arguments if a not in given])
    others = [a for a in rest if not a.lstrip("+").startswith(_FREE_WHEN_RESUMED)]
    if others:
        raise UsageError(f"{' '.join(others)}: a run is resumed with its own configuration; give resume=RUN_DIR alone")
    run = RunFolder(folder)
    if not run.config_yaml.is_file():
        raise UsageError(f"resume={folder}: there is no run in this folder (no {run.config_yaml.name})")
    run.status()  # refuses another format
    refuse_links(folder, where=f"resume={folder}")
    _check_readable(run)
    return [
        *flags,
        *choose_stored(run.config_yaml, where=f"resume={folder}", trusted=_trusted(rest), changed={"resume": True}),
        "hydra.output_subdir=null",
        *_logging(),
        *rest,
    ]


def _check_readable(run: RunFolder) -> None:
    """Raise `UsageError` if the configuration of a run is damaged; that of its last start has the same values."""
    if isinstance(read_yaml(run.config_yaml), dict):
        return
    copied = f"restore it with: cp {shlex.quote(str(run.config_json))} {shlex.quote(str(run.config_yaml))}"
    whole = isinstance(read_json(run.config_json), dict)
    raise UsageError(f"{run.config_yaml}: is damaged; {copied if whole else 'begin a new run'}")


def begin_job(folder: Path, sweep: Path, given: Sequence[str]) -> list[str]:
    """Return the arguments that begin the job of a stored sweep in ``folder``; see `StoredSweep` for ``given``."""
    flags, rest = _plug_in_flags(list(given))
    file, changed = RunFolder(folder).composed_yaml, {"sweep.group": sweep.name}
    chosen = choose_stored(file, where=str(folder), trusted=_trusted(rest), changed=changed)
    return [*flags, *chosen, *_logging(), *rest]


def _logging() -> list[str]:
    return [] if process_rank() else ["hydra/job_logging=stdout"]  # see without_run_folder


def _trusted(arguments: Sequence[str]) -> list[str]:
    """Return the packages that ``trust=`` names on a command line.

    >>> _trusted(["trust=[a,b]", "seed=1"]), _trusted(["trust=a"]), _trusted([])
    (['a', 'b'], ['a'], [])
    """
    given = [a.removeprefix("trust=") for a in arguments if a.startswith("trust=")] or ["[]"]
    return [name.strip(" '\"") for name in given[-1].strip("[] ").split(",") if name]


@dataclass(frozen=True)
class StoredSweep:
    """A sweep to go on with."""

    folder: SweepFolder
    at_once: int  # jobs that run at the same time
    given: list[str]  # what its jobs are given: flags that name plug-ins, and packages to trust
    trials: list[str]  # sweep.trials=NUMBER for a search, if it is given


def sweep_to_resume(arguments: Sequence[str]) -> StoredSweep | None:
    """Return the sweep that ``sweep.resume=DIR`` names; None without that argument.

    Raises:
        UsageError: there is none, its jobs' folders lie elsewhere, or other arguments are given.
    """
    given = [a for a in arguments if a.startswith("sweep.resume=") and a not in ("sweep.resume=", "sweep.resume=null")]
    if not given:
        return None
    sweep = SweepFolder(user_path(given[-1].removeprefix("sweep.resume=")).absolute())
    if not sweep.exists():
        raise UsageError(f"sweep.resume={sweep.path}: there is no sweep in this folder (no {sweep.sweep_json.name})")
    where = f"sweep.resume={sweep.path}"
    jobs = sweep.read().jobs  # refuses another format
    if not jobs:
        raise UsageError(sweep.damaged())
    for job in jobs:
        run = sweep.run(job)
        if sweep.path.resolve() not in run.path.resolve().parents:
            raise UsageError(f"{where}: {sweep.sweep_json.name}: folder {job.folder!r} lies elsewhere")
        if any(os.path.isfile(path) for path in (run.path, *run.path.parents)):
            raise UsageError(f"{where}: {sweep.sweep_json.name}: folder {job.folder!r} is a file, or lies in one")
        refuse_links(run.path, where=where)
    refuse_links(sweep.path, where=where)
    flags, rest = _plug_in_flags([a for a in arguments if a not in given])
    for_jobs = [*flags, *(a for a in rest if a.startswith(("trust=", "hydra.searchpath=")))]
    trials = [a for a in rest if a.startswith("sweep.trials=") and sweep.search_json.is_file()]
    known = [*for_jobs, *trials]
    others = [a for a in rest if a not in known and not a.startswith(("sweep.jobs=", "-m", "--multirun"))]
    if others:
        raise UsageError(f"{' '.join(others)}: a sweep keeps its configuration; give sweep.resume=DIR alone")
    at_once = [a.removeprefix("sweep.jobs=") for a in rest if a.startswith("sweep.jobs=")] or ["1"]
    if not (at_once[-1].isdecimal() and int(at_once[-1])):
        raise UsageError(f"sweep.jobs={at_once[-1]}: must be a whole number of at least 1")
    return StoredSweep(sweep, int(at_once[-1]), for_jobs, trials)


def _plug_in_flags(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the flags that name a folder of plug-ins, and all other arguments."""
    flags: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument in _PLUG_INS:
            flags += [argument, next(remaining, "")]
        elif argument.startswith(tuple(f"{name}=" for name in _PLUG_INS)):
            flags.append(argument)
        else:
            rest.append(argument)
    return flags, rest
