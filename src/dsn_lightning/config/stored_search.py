"""Goes on with a stored search: the command line that began it, as far as a file of others may give one."""

import re
from collections.abc import Sequence
from pathlib import Path

from dsn_lightning.config.arguments import StoredSweep
from dsn_lightning.config.compose import config_folders
from dsn_lightning.config.recipes import given_folders
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.stored_places import refuse_places
from dsn_lightning.config.stored_run import quoted
from dsn_lightning.config.stored_settings import check_stored_parts
from dsn_lightning.errors import UsageError
from dsn_lightning.launch.trial_study import SAMPLERS
from dsn_lightning.runs.search_plan import read_search_plan
from dsn_lightning.runs.sweep_folder import SweepFolder

OF_ONE_COMMAND = ("hydra", "trust", "overwrite", "resume", "run_dir", "sweep.jobs", "sweep.resume", "sweep.trials")
"""Keys whose values are not kept for the command that goes on with a search."""
_REFERENCE = re.compile(r"\$\{(?!hydra\b)[A-Za-z]\w*(\.[A-Za-z]\w*)*\}")  # to another key; no resolver
_KEY = re.compile(r"\+{0,2}[A-Za-z]\w*([./][A-Za-z]\w*)*")  # no part of a key begins with _, as _target_ does
_NO_VALUE = re.compile(r"[{}$\\]")  # mappings, references and escapes
_BEGINNING_OF_RANGE = re.compile(r"\brange\s*\(")
_RANGE = re.compile(r"\brange\s*\(([^()]*)\)")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_MAX_VALUES = 10_000  # of a range, which is written out
_OF_LISTS = re.compile(r"[\s,\[\]()]+|\bchoice\b")


def search_to_resume(stored: StoredSweep) -> list[str] | None:
    """Return the arguments with which Hydra goes on with a search; None if the sweep is a grid.

    Trials that have not begun are composed anew, from the package's configurations and those that this command names. A
    stored override may give values, refer to other keys, and choose among the configurations of a group. It builds
    nothing, sets nothing of Hydra's, trusts no package and calls no resolver.

    Raises:
        UsageError: ``search.json`` is damaged, or has such an override.
    """
    plan = read_search_plan(stored.folder.search_json)
    if plan is None:
        return None
    folder = str(stored.folder.path)
    if "${" in folder:
        raise UsageError(f"sweep.resume={folder}: the name of a folder must not contain ${{")
    if plan.sampler not in SAMPLERS:  # a grid is not composed anew
        expected = " or ".join(SAMPLERS)
        raise UsageError(f"{stored.folder.search_json}: sampler: expected {expected}, got {plan.sampler[:80]!r}")
    known = {"train", *(file.stem for place in given_folders(stored.given) for file in Path(place).glob("*.yaml"))}
    if plan.config_name not in known:
        raise UsageError(f"{stored.folder.search_json}: config_name: expected train, got {plan.config_name[:80]!r}")
    return [
        *checked(plan.arguments, where=f"{stored.folder.search_json}: arguments", given=stored.given),
        f"sweep.sampler={plan.sampler}",
        f"sweep.trials={plan.trials}",
        *stored.trials,
        f"sweep.jobs={stored.at_once}",
        f"sweep.resume={quoted(folder)}",
        f"hydra.sweep.dir={quoted(folder)}",
        *stored.given,
        "--multirun",
        "--config-name",
        plan.config_name,
    ]


def _has_long_range(value: str) -> bool:
    """Return whether a value has a range of other than plain numbers, or of more than `_MAX_VALUES` values.

    >>> [_has_long_range(f"range({given})") for given in ("3", "0, 10", "start=0,stop=1e9", "0,1,1e-9", "int(3)")]
    [False, False, True, True, True]
    >>> _has_long_range("range(step=1e-6,start=0,stop=1)"), _has_long_range("'my range(x)'")
    (True, False)
    """
    bare = _QUOTED.sub("", value)
    ranges = _RANGE.findall(bare)
    return len(ranges) < len(_BEGINNING_OF_RANGE.findall(bare)) or any(map(_is_long, ranges))


def _is_long(given: str) -> bool:
    parts = [part.rpartition("=") for part in given.split(",")]
    try:
        named = {name.strip(): float(number) for name, is_named, number in parts if is_named}
        numbers = [float(number) for _, is_named, number in parts if not is_named]
    except ValueError:
        return True
    start, stop, step = {0: [0.0, 0.0, 1.0], 1: [0.0, *numbers, 1.0], 2: [*numbers, 1.0]}.get(len(numbers), numbers)[:3]
    start, stop, step = named.get("start", start), named.get("stop", stop), named.get("step", step)
    return not abs(stop - start) <= abs(step) * _MAX_VALUES


def is_kept(argument: str) -> bool:
    """Return whether an override counts for the command that goes on with a search.

    >>> [is_kept(a) for a in ("M=1,3", "+hydra.verbose=true", "hydra/launcher=x", "trust=[a]", "overwrite=true")]
    [True, False, False, False, False]
    """
    key = re.split(r"[=@]", argument.lstrip("+~"))[0]
    return key not in OF_ONE_COMMAND and re.split("[./]", key)[0] not in OF_ONE_COMMAND


def checked(arguments: Sequence[str], *, where: str, given: Sequence[str] = ()) -> list[str]:
    """Return stored overrides.

    Args:
        arguments: overrides.
        where: names the file, for messages.
        given: flags of the command that name folders of configurations.

    Raises:
        UsageError: one is not of the form that a file may give.
    """
    for argument in arguments:
        key, is_assignment, value = argument.partition("=")
        if _has_long_range(value):
            raise UsageError(f"{where}: {argument[:80]}: expected a range of at most {_MAX_VALUES} values")
        path = key.lstrip("+")
        folders = [Path(folder, path) for folder in (*config_folders(), *given_folders(list(given)))]
        groups = [folder for folder in folders if folder.is_dir()]
        names = {
            file.relative_to(folder).with_suffix("").as_posix() for folder in groups for file in folder.rglob("*.yaml")
        }
        if (
            not is_assignment
            or not _KEY.fullmatch(key)
            or not is_kept(argument)
            or _NO_VALUE.search(_REFERENCE.sub("", value))
            or ("/" in path and not groups)
            or (groups and not {*filter(None, _OF_LISTS.split(value))} <= {*names, "null"})
        ):
            raise UsageError(f"{where}: {argument[:80]!r} is not accepted from a file")
    return list(arguments)


def check_of_stored(sweep: SweepFolder, settings: Settings, *, trusted: list[str]) -> None:
    """Refuse settings of a stored search that would build foreign code or make files elsewhere, before they are used.

    Raises:
        UsageError: names the key.
    """
    where = f"sweep.resume={sweep.path}"
    check_stored_parts(settings, None, where=where, trusted=trusted)
    refuse_places(settings, where=where, remedy="if that is what you want, begin a new search with it", own=sweep.path)
