"""What a checkpoint's configuration may build: the package's own parts, optimisers, torchvision's models."""

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from dsn_lightning.errors import UsageError

_MODULES = (
    "dsn_lightning.algorithms",
    "dsn_lightning.backbones",
    "dsn_lightning.datasets",
    "dsn_lightning.estimators",
    "dsn_lightning.observations",
    "dsn_lightning.schedules",
    "dsn_lightning.video",
    "torch.optim",
    "torchvision.models",
)
_FUNCTIONS = ("dsn_lightning.estimators", "torchvision.models")
"""Where functions count as well as classes; elsewhere some write files."""


def refuse_foreign_code(parts: list[Any], where: str, *, trusted: Sequence[str] = ()) -> None:
    """Refuse configurations out of a checkpoint that would build anything but known parts.

    A name is followed no further than the module that defines it: what that module has imported does not count.

    Args:
        parts: parts of the configuration, as plain values.
        where: names the checkpoint, for messages.
        trusted: packages of the user's that may be imported, too.
    """
    parts = list(parts)
    while parts:
        part = parts.pop()
        if isinstance(part, Mapping):
            target = part.get("_target_")
            if target is not None and not _is_known(str(target), trusted):
                raise UsageError(
                    f"{where}: would run {target}, which is not part of dsn_lightning; if you know what it does, allow "
                    f"it with trust=[{str(target).split('.')[0]}]"
                )
            parts.extend(part.values())
        elif isinstance(part, list | tuple):
            parts.extend(part)


def _is_known(target: str, trusted: Sequence[str]) -> bool:
    module, _, name = target.rpartition(".")
    if _lies_in(module, trusted):
        return True
    if not _lies_in(module, _MODULES):
        return False
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return False
    home = getattr(found, "__module__", "")
    if inspect.isclass(found):
        return _lies_in(home, _MODULES)
    return inspect.isfunction(found) and _lies_in(home, _FUNCTIONS)


def _lies_in(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
