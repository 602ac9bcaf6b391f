"""Stored configurations, read without Hydra: overrides, references and dotted keys."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dsn_lightning.files import MAX_DEPTH, check_nesting
from dsn_lightning.runs.tolerant_files import parse_yaml

_MAX_RESOLVED = 100_000  # values and characters that the references of a configuration may expand to
_REFERENCE = re.compile(r"\$\{(?:([\w.]+)|oc\.select:([\w.]+),([^}]*))\}")
_Json = dict[str, Any]


def with_overrides(root: _Json, overrides: Sequence[str]) -> _Json:
    """Apply the overrides of a command line to ``root`` and return it; an overridden group keeps its name only.

    Raises:
        ValueError: an override is nested too deeply.
    """
    for override in overrides:
        name, is_assignment, text = override.lstrip("+").partition("=")
        if not is_assignment or name.startswith("~"):
            continue
        *path, last = name.split(".")
        if len(path) >= MAX_DEPTH:
            raise ValueError(f"an override nested deeper than {MAX_DEPTH}: {name[:40]}...")
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
        value = parse_yaml(text)
    except ValueError:
        return text
    if isinstance(value, str):
        number = number_of(value)  # YAML reads 1e-3 as text
        return value if math.isnan(number) else number
    return value


def resolve(root: _Json) -> _Json:
    """Replace ``${key.path}`` and ``${oc.select:key.path,default}`` in ``root`` by the values that they refer to.

    Any other resolver stays text.

    >>> resolve({"a": "${b.c}", "d": "${a}-${b.c}", "e": "${now:%Y}", "b": {"c": 3}})
    {'a': 3, 'd': '3-3', 'e': '${now:%Y}', 'b': {'c': 3}}
    >>> resolve({"b": {"c": 3}, "list": ["${oc.select:b.c,null}", "${oc.select:b.d,null}"]})["list"]
    [3, None]

    Raises:
        ValueError: the references expand to an unreasonable size, or are nested too deeply.
    """
    try:
        resolved: _Json = _Resolver(root).value(root)
    except RecursionError:
        raise ValueError(f"its references are nested deeper than {MAX_DEPTH}") from None
    check_nesting(resolved)
    return resolved


class _Resolver:
    """Resolves references up to a total size, since each may refer to several others."""

    def __init__(self, root: _Json) -> None:
        self.root = root
        self.left = _MAX_RESOLVED

    def value(self, node: Any, depth: int = 0) -> Any:
        """Return a part of the configuration with its references resolved, ``depth`` references below the first."""
        self.left -= len(node) if isinstance(node, str) and depth else 1
        if self.left < 0:
            raise ValueError(f"its references expand to more than {_MAX_RESOLVED} values and characters")
        if isinstance(node, dict):
            self.left -= sum(len(str(key)) for key in node) if depth else 0
            return {key: self.value(value, depth) for key, value in node.items()}
        if isinstance(node, list):
            return [self.value(value, depth) for value in node]
        if not isinstance(node, str) or depth == 8:  # a reference to itself
            return node
        whole = _REFERENCE.fullmatch(node)
        if whole:
            return self._target(whole, depth)
        return _REFERENCE.sub(lambda reference: str(self._target(reference, depth)), node)

    def _target(self, reference: re.Match[str], depth: int) -> Any:
        value: Any = self.root
        key, selected, default = reference.groups()
        for part in (key or selected).split("."):
            if not isinstance(value, dict) or part not in value:
                return reference[0] if key else value_of(default)
            value = value[part]
        return self.value(value, depth + 1)


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
        return json.dumps({str(key): item for key, item in value.items()}, default=str)
    return tuple(_hashable(item) for item in value) if isinstance(value, list) else value


def number_of(text: str | None) -> float:
    """Return a text as a number; NaN if it is not one."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
