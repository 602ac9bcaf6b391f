"""From a node of the configuration to the object that it describes, and to a data set, without torch."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from dsn_lightning.config.setting_rules import Node
from dsn_lightning.config.settings import DatasetSettings
from dsn_lightning.datasets.records import VideoSource, check_source
from dsn_lightning.errors import UsageError
from dsn_lightning.video.decoder import Decoder, check_decoder

_NOT_ARGUMENTS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")
_MISSING = "???"


def build_part(node: Node, /, key: str, **arguments: Any) -> Any:
    """Return what a node describes: its ``_target_`` called with its keys and ``arguments``; lists stay lists.

    The values of a node are final: nothing in them is resolved. Where both have a key, ``arguments`` win. Nodes inside
    are built first. With ``_partial_: true`` the target is not called but bound to its arguments (`functools.partial`).

    Raises:
        UsageError: the target cannot be imported, has no such argument, or has raised `UsageError`; ``key``, the node's
            place in the configuration, is added.
    """
    return _built(_merged(node, arguments), key)


def located(name: Any, key: str) -> Callable[..., Any]:
    """Import what a dotted name stands for: a class or a function; ``key`` is for messages."""
    if not isinstance(name, str) or name == _MISSING:
        raise UsageError(f"{key}._target_={name}: expected the name of a class, such as my_package.MyClass")
    try:
        module, *attributes = name.split(".")
        found: Any = import_module(module)
        for attribute in attributes:
            module = f"{module}.{attribute}"
            if isinstance(found, ModuleType) and not hasattr(found, attribute):
                found = import_module(module)
            else:
                found = getattr(found, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{key}._target_={name}: cannot be imported ({error})") from error
    if not callable(found):
        raise UsageError(f"{key}._target_={name}: expected a class or a function, got a {type(found).__name__}")
    target: Callable[..., Any] = found
    return target


def _merged(node: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node with other arguments, which may be nodes themselves; neither is changed."""
    result = dict(node)
    for name, value in arguments.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = _merged(before, value)
        result[name] = value
    return result


def _built(value: Any, key: str) -> Any:
    """Return a value with all nodes in it built, and with new lists and dicts in place of its own."""
    if isinstance(value, list | tuple):
        return [_built(inner, f"{key}.{number}") for number, inner in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    if "_target_" not in value:
        return {name: _built(inner, f"{key}.{name}") for name, inner in value.items()}
    return _call(value, key)


def _call(node: Mapping[str, Any], key: str) -> Any:
    target = located(node["_target_"], key)
    make = _built if node.get("_recursive_", True) else _copied
    arguments = {name: make(value, f"{key}.{name}") for name, value in node.items() if name not in _NOT_ARGUMENTS}
    if missing := [name for name, value in arguments.items() if isinstance(value, str) and value == _MISSING]:
        raise UsageError(f"{key}.{missing[0]}: is not set")
    if wrong := [name for name in arguments if not isinstance(name, str)]:
        raise UsageError(f"{key}.{wrong[0]}: expected the name of an argument")
    positional = make(node.get("_args_", []), f"{key}._args_")
    if node.get("_partial_", False):
        return partial(target, *positional, **arguments)
    try:
        return target(*positional, **arguments)
    except TypeError as error:
        raise_if_unknown(error, key)
        raise
    except UsageError as error:
        message = str(error)
        raise UsageError(message if message.startswith(key.split(".")[0]) else f"{key}.{message}") from error


def _copied(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return {name: _copied(inner, key) for name, inner in value.items()}
    return [_copied(inner, key) for inner in value] if isinstance(value, list | tuple) else value


def raise_if_unknown(error: TypeError, key: str) -> None:
    """Raise `UsageError` if a constructor has refused an argument that it does not have."""
    if found := re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error)):
        raise UsageError(f"{key}.{found[2]}: {found[1]} has no such argument") from error


def build_decoder(node: Node) -> Decoder:
    """Return the decoder that ``dataset.reading.decoder`` describes, checked against its contract."""
    key = "dataset.reading.decoder"
    try:
        decoder: Decoder = build_part(node, key)
    except TypeError as error:
        raise UsageError(f"{key}: cannot be built ({error})") from error
    check_decoder(decoder, key)
    return decoder


def build_source(dataset: DatasetSettings) -> VideoSource:
    """Return the data set, checked against its contract, without what training needs."""
    source: VideoSource = build_part(dataset.source, "dataset")
    check_source(source, f"dataset={dataset.name}")
    return source
