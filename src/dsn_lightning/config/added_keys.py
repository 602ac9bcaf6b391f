"""Refuses keys that nothing reads and misspelt names of configurations, and names those that are closest."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dsn_lightning.config.compose import config_folder, config_folders
from dsn_lightning.config.recipes import given_folders, written_keys
from dsn_lightning.errors import UsageError

_COMPLETION = ("--shell-completion", "-sc")


def refuse_unknown_keys(settings: type[Any], name: str) -> Callable[[list[str]], list[str]]:
    """Return a step of `arguments.rewritten` that changes nothing.

    It raises `UsageError` for ``KEY=VALUE`` and ``+KEY=VALUE`` if neither ``settings`` nor ``conf/NAME.yaml`` has the
    key and no constructor gets it (Hydra accepts any key after a ``+``), and for ``GROUP=NAME`` if the group has no
    such configuration but one with a similar name.
    """

    def check(arguments: list[str]) -> list[str]:
        if {*_COMPLETION} & {*arguments}:  # install=bash is no key
            return arguments
        written = written_keys(Path(config_folder(), f"{name}.yaml"))
        for argument in arguments:
            key, is_assignment, value = argument.partition("=")
            path = key.lstrip("+")
            if not is_assignment or not path or path[0] in "-~" or {*"@:"} & {*path}:
                continue
            if _is_group(path, arguments):
                _check_names(path, value, arguments)
            elif "/" not in path and not path.startswith("hydra."):  # Hydra checks its own keys
                group = path.partition(".")[0]
                of_group = (
                    {group: _keys_of_group(group, arguments)} if key == path and _is_group(group, arguments) else {}
                )
                _check(key, settings, _merged(written, of_group))
        return arguments

    return check


def closest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the known name that is closest, if one is close.

    >>> closest("max_epoch", ["max_epochs", "lr"]), closest("x", ["lr"])
    ('; did you mean max_epochs?', '')
    """
    found = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def _is_group(key: str, arguments: list[str]) -> bool:
    """Return whether a key names a group of configurations, of the package or of a plug-in."""
    return any(Path(folder, key).is_dir() for folder in _folders(arguments))


def _folders(arguments: list[str]) -> tuple[str, ...]:
    return (*config_folders(), *given_folders(arguments))


def _check_names(group: str, value: str, arguments: list[str]) -> None:
    """Refuse an unknown name that is similar to one of the group, and a file that is not valid YAML.

    Others may be in a folder that only Hydra knows, which reports them otherwise.
    """
    files = {
        file: Path(folder, group) for folder in _folders(arguments) for file in Path(folder, group).rglob("*.yaml")
    }
    known = {file.relative_to(folder).with_suffix("").as_posix() for file, folder in files.items()}
    for name in [] if "(" in value else value.strip("[]").split(","):  # choice(a,b): Hydra reads it
        if name.strip() not in known and (message := closest(name.strip(), known)):
            raise UsageError(f"{group}={name}: there is no such configuration{message}")
        for folder in given_folders(arguments):
            if (file := Path(folder, group, f"{name.strip()}.yaml")).is_file():
                written_keys(file)


def _check(given: str, settings: type[Any], written: Any) -> None:
    """Refuse a key that neither ``settings`` nor ``written`` has.

    Keys that constructors get are refused only if they are misspelt: one without ``+`` whose like is written.
    """
    cls: type[Any] | None = settings
    is_added, place, is_passed_on = given.startswith("+"), "", False
    for name in given.lstrip("+").split("."):
        fields = {f.name: f for f in dataclasses.fields(cls) if "all_keys" not in f.metadata} if cls else {}
        node = written if isinstance(written, Mapping) else {}
        if name not in fields and name not in node:
            message = closest(name, {*fields, *node} - {"defaults", "hydra"}).replace("mean ", f"mean {place}")
            takes_others = cls is not None and any("passed_on" in f.metadata for f in dataclasses.fields(cls))
            if (is_passed_on or takes_others) and (is_added or not message):
                return
            raise UsageError(f"{given}: there is no such key{message}")
        cls = fields[name].metadata.get("section") if name in fields else None
        is_passed_on |= name in fields and cls is None
        if is_passed_on and (is_added or not isinstance(node.get(name), Mapping)):
            return
        written, place = node.get(name), f"{place}{name}."


def _keys_of_group(group: str, arguments: list[str]) -> dict[str, Any]:
    """Return the keys of all configurations of a group in one mapping, those of groups inside it under their names."""
    merged: dict[str, Any] = {}
    for place in [Path(folder, group) for folder in _folders(arguments)]:
        for file in place.glob("*.yaml"):
            merged = _merged(merged, written_keys(file))
        for inside in place.iterdir() if place.is_dir() else ():
            if inside.is_dir():
                merged = _merged(merged, {inside.name: _keys_of_group(f"{group}/{inside.name}", arguments)})
    merged.pop("defaults", None)
    return merged


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of both mappings, and of mappings inside them."""
    merged = dict(first)
    for name, value in second.items():
        inside = merged.get(name)
        if isinstance(value, Mapping) and (isinstance(inside, Mapping) or name not in merged):
            merged[name] = _merged(inside or {}, value)
        elif not isinstance(inside, Mapping):
            merged[name] = value
    return merged
