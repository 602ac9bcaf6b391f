"""What the configuration of a run says, read without Hydra: overrides, references and dotted keys."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there
_REFERENCE = re.compile(r"\$\{(?:([\w.]+)|oc\.select:([\w.]+),([^}]*))\}")
_Json = dict[str, Any]


def with_overrides(root: _Json, overrides: Sequence[str]) -> _Json:
    """Change ``root`` by the overrides of a command line and return it; a group chosen anew has its name alone."""
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
    """Return what an override's right side means.

    >>> [value_of(text) for text in ("3", "1e-3", "null", "[1,2]", "needle")]
    [3, 0.001, None, [1, 2], 'needle']
    """
    try:
        value = yaml.load(text, LOADER)
    except (yaml.YAMLError, ValueError):  # ValueError: what looks like a date and is none
        return text
    if isinstance(value, str):
        number = number_of(value)  # YAML wants a dot in 1e-3
        return value if math.isnan(number) else number
    return value


def resolve(node: Any, root: _Json, depth: int = 0) -> Any:
    """Replace ``${key.path}``, or ``${oc.select:key.path,default}``, by what stands there in ``root``.

    Any other resolver stays as text.

    >>> resolve({"a": "${b.c}", "d": "${a}-${b.c}", "e": "${now:%Y}"}, {"a": "${b.c}", "b": {"c": 3}})
    {'a': 3, 'd': '3-3', 'e': '${now:%Y}'}
    >>> resolve(["${oc.select:b.c,null}", "${oc.select:b.d,null}"], {"b": {"c": 3}})
    [3, None]
    """
    if isinstance(node, dict):
        return {key: resolve(value, root, depth) for key, value in node.items()}
    if isinstance(node, list):
        return [resolve(value, root, depth) for value in node]
    if not isinstance(node, str) or depth == 8:  # a reference that leads to itself
        return node

    def stands_at(reference: re.Match[str]) -> Any:
        value: Any = root
        key, selected, default = reference.groups()
        for part in (key or selected).split("."):
            if not isinstance(value, dict) or part not in value:
                return reference[0] if key else yaml.safe_load(default)
            value = value[part]
        return resolve(value, root, depth + 1)

    alone = _REFERENCE.fullmatch(node)
    return stands_at(alone) if alone else _REFERENCE.sub(lambda reference: str(stands_at(reference)), node)


def flat(node: Mapping[str, Any], prefix: str = "") -> _Json:
    """Return nested mappings as one with dotted keys.

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
    """Return what stands in a file as a number; NaN if it is none."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
