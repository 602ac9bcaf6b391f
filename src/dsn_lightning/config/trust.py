"""What a stored configuration may name to be built: parts of this package, and packages that the user trusts."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from dsn_lightning.config.exported_files import SUFFIXES, file_digest
from dsn_lightning.config.setting_rules import Node
from dsn_lightning.config.settings import EXPORTED
from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import user_path

NETWORK_PARTS = ("backbone", "observation", "algorithm", "estimator", "reward", "schedule")
"""Parts of a configuration that the networks of a run are built from."""

_NETWORKS = (
    "dsn_lightning.algorithms",
    "dsn_lightning.backbones",
    "dsn_lightning.observations",
    "dsn_lightning.estimators",
    "dsn_lightning.estimators.exact",
    "dsn_lightning.estimators.reinforce",
    "dsn_lightning.estimators.reinforce_with_greedy_baseline",
    "dsn_lightning.rewards",
    "dsn_lightning.schedules.Cosine",
    "dsn_lightning.schedules.MultiStep",
    "torch.optim",
)
_OF_FILES = (
    ".pth",
    ".ckpt",
    ".bin",
    ".safetensors",
    ".torchscript",
    ".pkl",
    ".pickle",
    ".npz",
    ".npy",
    ".h5",
    ".zip",
    ".tar",
)
"""Ends of the names of other files with weights."""

_CALLBACKS = (
    "pytorch_lightning.callbacks.EarlyStopping",
    "pytorch_lightning.callbacks.LearningRateMonitor",
    "pytorch_lightning.callbacks.Timer",
)
_LOGGERS = ("dsn_lightning.tracking.TensorBoardRun", "dsn_lightning.tracking.WandbRun")
_ALLOWED = {
    **dict.fromkeys(NETWORK_PARTS, _NETWORKS),
    "dataset": ("dsn_lightning.datasets", "dsn_lightning.video"),
    "selection": ("dsn_lightning.selections",),
    "logger": _LOGGERS,
    "trainer": ("pytorch_lightning.Trainer",),
    "callbacks": _CALLBACKS,
}
"""For each part of a configuration the folders whose public classes it may name, and other names.

A part may name what it is made of alone: a logger writes files, and a data set reads them. What is named for the
networks and the Trainer writes no files and calls nothing that it is given.
"""


_WITHOUT_PARTS = ("logger", "trainer", "callbacks")
"""Parts whose nodes have plain values as arguments: a logger in an argument of another would write where it says."""

_SET_BY_THE_RUN = ("info",)
"""Arguments with which a run tells its loggers where to write."""


def refuse_foreign_code(parts: Node, where: str, *, trusted: Sequence[str] = ()) -> None:
    """Refuse stored parts of a configuration that would build anything but known parts, or with other arguments.

    The values are final, as `plain_copy` has copied them, so what is checked here is what is built. A name is looked
    up among the public names that its part may use, and never followed through what a module has imported. No module is
    imported for the check but those of this package and of ``trusted``.

    Args:
        parts: parts of the configuration by key, as plain values; nodes inside of a part may name what the part may.
        where: names the file, for messages.
        trusted: packages that the user of this command trusts; they may be imported, and their classes and functions
            may be built with any arguments. Also files of exported classifiers, which may be loaded; a name that ends
            as theirs do, such as ``torch.onnx``, is never a package.

    Raises:
        UsageError: names the file, the key and what it would run.
    """
    waiting: list[tuple[str, Any]] = list(parts.items())
    while waiting:
        key, part = waiting.pop()
        if isinstance(part, Mapping):
            if "_target_" in part:
                _check_node(part, key, where, trusted)
            waiting += [(f"{key}.{name}", inner) for name, inner in part.items()]
        elif isinstance(part, list | tuple):
            waiting += [(f"{key}[{number}]", inner) for number, inner in enumerate(part)]


def _check_node(node: Node, key: str, where: str, trusted: Sequence[str]) -> None:
    target = str(node["_target_"])
    if _is_trusted(target, trusted):
        return
    part = key.partition(".")[0]
    found = None if _is_inside_of_node(key) else _known(target, _ALLOWED.get(part, ()))
    if found is None:
        package = target.partition(".")[0]
        foreign = package.isidentifier() and package != __name__.partition(".")[0]
        remedy = f"; if you know what it does, allow it with trust=[{package}]"
        raise UsageError(
            f"{where}: {key}: would run {target}, which is not part of dsn_lightning that a file may name in "
            f"{part}{remedy if foreign and package not in sys.stdlib_module_names else ''}"
        )
    if unknown := [name for name in node if not _accepts(found, str(name))]:
        raise UsageError(f"{where}: {key}.{unknown[0]}: {target} has no such argument")
    if target == EXPORTED and trusted_file(node, trusted) is None:
        name = str(node.get("file"))
        remedy = "if you know where it is from, allow it with trust=[FILE], on the command line"
        if not name.endswith(SUFFIXES):
            remedy = f"its name does not end in {', '.join(SUFFIXES)}"
        raise UsageError(f"{where}: {key}: would load the file {printable(name)}, which can hold code; {remedy}")
    if not isinstance(node.get("_partial_", False), bool):
        raise UsageError(f"{where}: {key}._partial_: must be true or false")


def _is_inside_of_node(key: str) -> bool:
    """Return whether a node is an argument of a logger, of a callback or of the Trainer."""
    part, _, inside = key.partition(".")
    return part in _WITHOUT_PARTS and ((part == "trainer" and bool(inside)) or "." in inside or "[" in key)


def trusted_file(node: Node, trusted: Sequence[str]) -> Path | None:
    """Return the trusted file that has the content which a stored `ExportedNetwork` names; None if there is none."""
    files = [user_path(name) for name in trusted if name.endswith(SUFFIXES)]
    return next((file for file in files if file.is_file() and file_digest(file) == node.get("digest")), None)


def _accepts(found: Any, name: str) -> bool:
    if name in ("_target_", "_partial_"):
        return True
    if name in _SET_BY_THE_RUN:
        return False
    parameters = inspect.signature(found).parameters
    takes_others = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return name in parameters or (takes_others and not name.startswith("_"))


def _known(target: str, allowed: Sequence[str]) -> Any:
    """Return the part that a public name stands for; None if there is none among those that are allowed."""
    module, _, name = target.rpartition(".")
    if target in allowed:
        found = getattr(import_module(module), name)
        return found if callable(found) else None
    if module not in allowed:
        return None
    try:
        package = import_module(module)
    except ModuleNotFoundError:  # it is the name of a class
        return None
    found = getattr(package, name, None) if name in getattr(package, "__all__", ()) else None
    return found if inspect.isclass(found) and not getattr(found, "_is_protocol", False) else None


def _is_trusted(target: str, packages: Sequence[str]) -> bool:
    """Return whether a class or function is defined in one of the packages; what they have imported does not count."""
    module, _, name = target.rpartition(".")
    packages = [name for name in packages if _is_package(name)]
    if not _lies_in(module, packages):
        return False
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return False
    is_part = inspect.isclass(found) or inspect.isfunction(found)
    return is_part and _lies_in(str(getattr(found, "__module__", "")), packages)


def _is_package(name: str) -> bool:
    """Return whether a name in ``trust`` is that of a package or module, and not of a file.

    >>> [_is_package(name) for name in ("my_package.parts", "model.pt", "model.PT", "model.pth ", "./model.onnx", "")]
    [True, False, False, False, False, False]
    """
    names_a_file = name.lower().endswith((*SUFFIXES, *_OF_FILES)) or (Path(name).exists() and "." in name)
    return all(part.isidentifier() for part in name.split(".")) and not names_a_file


def _lies_in(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
