"""Refuses keys that a command line adds with ``+`` and that nothing reads."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dsn_lightning.config.compose import config_folder, config_folders
from dsn_lightning.config.recipes import given_folders
from dsn_lightning.errors import UsageError


def refuse_unknown_keys(settings: type[Any], name: str) -> Callable[[list[str]], list[str]]:
    """Return a step of `arguments.rewritten` that changes nothing.

    It raises `UsageError` for ``+KEY=VALUE`` if neither ``settings`` nor ``conf/NAME.yaml`` has the key and no
    constructor gets it. Hydra accepts any key after a ``+``.
    """

    def check(arguments: list[str]) -> list[str]:
        written = yaml.safe_load(Path(config_folder(), f"{name}.yaml").read_text())
        for argument in arguments:
            key = argument.lstrip("+").partition("=")[0]
            if argument.startswith("+") and not _is_group(key, arguments):
                _check(key, settings, written)
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
    folders = (*config_folders(), *given_folders(arguments))
    return bool({*"/@"} & {*key}) or any(Path(folder, key).is_dir() for folder in folders)


def _check(key: str, settings: type[Any], written: Any) -> None:
    cls: type[Any] | None = settings
    place = ""
    if key.startswith("hydra."):
        return
    for name in key.split("."):
        fields = {f.name: f for f in dataclasses.fields(cls) if "all_keys" not in f.metadata} if cls else {}
        node = written if isinstance(written, Mapping) else {}
        if name not in fields and name not in node:
            passed_on = cls is not None and any("passed_on" in f.metadata for f in dataclasses.fields(cls))
            if passed_on:
                return
            message = closest(name, {*fields, *node} - {"defaults", "hydra"}).replace("mean ", f"mean {place}")
            raise UsageError(f"+{key}: there is no such key{message}")
        if name in fields and "section" not in fields[name].metadata:
            return  # a value, or what a constructor gets
        cls = fields[name].metadata["section"] if name in fields else None
        written, place = node.get(name), f"{place}{name}."
