"""Goes on with a stored search: the command line that began it, as far as a file of others may give one."""

import re
from pathlib import Path

from dsn_lightning.config.arguments import StoredSweep
from dsn_lightning.config.compose import config_folder
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.stored_places import refuse_places
from dsn_lightning.config.stored_settings import check_stored_parts
from dsn_lightning.errors import UsageError
from dsn_lightning.runs.search_plan import SearchPlan, read_search_plan
from dsn_lightning.runs.sweep_folder import SweepFolder

OF_ONE_COMMAND = ("hydra", "trust", "overwrite", "resume", "run_dir", "sweep.jobs", "sweep.resume", "sweep.trials")
"""Keys whose values are not kept for the command that goes on with a search."""
_REFERENCE = re.compile(r"\$\{[\w.]+\}")
_NAME = re.compile(r"[\w-]+(/[\w-]+)*")
_ELSEWHERE = re.compile(r"\.\.|(?<![\w-])/")


def search_to_resume(stored: StoredSweep) -> list[str] | None:
    """Return the arguments with which Hydra goes on with a search; None if the sweep is a grid.

    Trials that have not begun are composed anew, from the package's configurations and those that this command names. A
    stored override may give values and refer to other keys. It sets nothing of Hydra's, trusts no package, calls no
    resolver and leads to no other folder of configurations.

    Raises:
        UsageError: ``search.json`` is damaged, or has such an override.
    """
    plan = read_search_plan(stored.folder.search_json)
    if plan is None:
        return None
    folder = str(stored.folder.path)
    if "${" in folder or "'" in folder:
        raise UsageError(f"sweep.resume={folder}: the name of a folder must not contain ${{ or '")
    return [
        *_checked(stored.folder, plan),
        f"sweep.trials={plan.trials}",
        *stored.trials,
        f"sweep.jobs={stored.at_once}",
        f"sweep.resume='{folder}'",
        f"hydra.sweep.dir='{folder}'",
        *stored.given,
        "--multirun",
        "--config-name",
        plan.config_name,
    ]


def is_kept(argument: str) -> bool:
    """Return whether an override counts for the command that goes on with a search.

    >>> [is_kept(a) for a in ("M=1,3", "+hydra.verbose=true", "hydra/launcher=x", "trust=[a]", "overwrite=true")]
    [True, False, False, False, False]
    """
    key = re.split(r"[=@]", argument.lstrip("+~"))[0]
    return key not in OF_ONE_COMMAND and not key.startswith(("hydra.", "hydra/"))


def _checked(sweep: SweepFolder, plan: SearchPlan) -> list[str]:
    if not _NAME.fullmatch(plan.config_name):
        raise UsageError(f"{sweep.search_json}: config_name: expected a name, got {plan.config_name[:80]!r}")
    for argument in plan.arguments:
        key, _, value = argument.lstrip("+~").partition("=")
        is_group = Path(config_folder(), key.partition("@")[0]).is_dir()
        if (
            not is_kept(argument)
            or not re.match(r"(\+\+?|~)?\w", argument)
            or "${" in _REFERENCE.sub("", argument)
            or (is_group and _ELSEWHERE.search(value))
        ):
            raise UsageError(f"{sweep.search_json}: arguments: {argument[:80]!r} is not accepted from a file")
    return list(plan.arguments)


def check_of_stored(sweep: SweepFolder, settings: Settings, *, trusted: list[str]) -> None:
    """Refuse settings of a stored search that would build foreign code or make files elsewhere, before they are used.

    Raises:
        UsageError: names the key.
    """
    where = f"sweep.resume={sweep.path}"
    check_stored_parts(settings, None, where=where, trusted=trusted)
    refuse_places(settings, where=where, remedy="if that is what you want, begin a new search with it", own=sweep.path)
