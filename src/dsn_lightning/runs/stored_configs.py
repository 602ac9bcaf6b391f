"""Stored configurations, read without Hydra: overrides, references and dotted keys."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from dsn_lightning.runs.tolerant_files import YAML_LOADER

_REFERENCE = re.compile(r"\$\{(?:([\w.]+)|oc\.select:([\w.]+),([^}]*))\}")
_Json = dict[str, Any]


def with_overrides(root: _Json, overrides: Sequence[str]) -> _Json:
    """Apply the overrides of a command line to ``root`` and return it; an overridden group keeps its name only."""
    for override in overrides:
        name, is_assignment, text = override.lstrip("+").partition("=")
        if not is_assignment or name.startswith("~"):
            continue
        *path, last = name.split(".")
        node = root
        for part in path:
            if not isinstance(node.get(part), dict):
                node[part] = {}
            node = node[part]
        value = value_of(text)
        node[last] = {"name": value} if isinstance(node.get(last), dict) else value
    return root


def value_of(text: str) -> Any:
    """Return the value that the right side of an override stands for.

    >>> [value_of(text) for text in ("3", "1e-3", "null", "[1,2]", "needle")]
    [3, 0.001, None, [1, 2], 'needle']
    """
    try:
        value = yaml.load(text, YAML_LOADER)
    except (yaml.YAMLError, ValueError):  # ValueError: looks like a date but is not one
        return text
    if isinstance(value, str):
        number = number_of(value)  # YAML reads 1e-3 as text
        return value if math.isnan(number) else number
    return value


def resolve(node: Any, root: _Json, depth: int = 0) -> Any:
    """Replace ``${key.path}`` and ``${oc.select:key.path,default}`` by their values in ``root``.

    Any other resolver stays text.

    >>> resolve({"a": "${b.c}", "d": "${a}-${b.c}", "e": "${now:%Y}"}, {"a": "${b.c}", "b": {"c": 3}})
    {'a': 3, 'd': '3-3', 'e': '${now:%Y}'}
    >>> resolve(["${oc.select:b.c,null}", "${oc.select:b.d,null}"], {"b": {"c": 3}})
    [3, None]
    """
    if isinstance(node, dict):
        return {key: resolve(value, root, depth) for key, value in node.items()}
    if isinstance(node, list):
        return [resolve(value, root, depth) for value in node]
    if not isinstance(node, str) or depth == 8:  # a reference to itself
        return node

    def value_at(reference: re.Match[str]) -> Any:
        value: Any = root
        key, selected, default = reference.groups()
        for part in (key or selected).split("."):
            if not isinstance(value, dict) or part not in value:
                return reference[0] if key else yaml.safe_load(default)
            value = value[part]
        return resolve(value, root, depth + 1)

    whole = _REFERENCE.fullmatch(node)
    return value_at(whole) if whole else _REFERENCE.sub(lambda reference: str(value_at(reference)), node)


def flat(node: Mapping[str, Any], prefix: str = "") -> _Json:
    """Return nested mappings as one mapping with dotted keys.

    >>> flat({"M": 3, "test": {"M": [1, 2]}})
    {'M': 3, 'test.M': (1, 2)}
    """
    found: _Json = {}
    for key, value in node.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = _hashable(value)
    return found


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value)
    return tuple(_hashable(item) for item in value) if isinstance(value, list) else value


def number_of(text: str | None) -> float:
    """Return a text as a number; NaN if it is not one."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
