"""What a resolved configuration may consist of: plain values, which nothing is looked up or computed for."""

from collections.abc import Mapping
from typing import Any

from dsn_lightning.errors import UsageError
from dsn_lightning.files import is_text

_REFERENCE = "${"
_TARGET = "_target_"
_MAX_DEPTH = 32
_MAX_VALUES = 100_000
_PLAIN = (str, int, float, bool, type(None))


def plain_copy(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of plain values, made of dicts, lists and tuples, and refuse whatever is not plain.

    Mappings, lists, strings, numbers, true, false and null are plain. A reference (``${...}``) in a key or a value, at
    any depth, is refused and not resolved, as resolvers read environment variables and can build objects. The copy
    holds what was checked: a mapping of a pickle may have methods of its own.

    Raises:
        UsageError: names the key; also for a configuration that is nested too deeply or has too many values.
    """
    return dict(_Copy().of(values, ""))


def refuse_nodes(value: Any, key: str) -> None:
    """Refuse what a configuration takes for more than a value, at any depth: references, and nodes that are built.

    Raises:
        UsageError: begins with ``key``, which stands for the value.
    """
    waiting: list[Any] = [plain_copy({key: value})]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, Mapping):
            if _TARGET in inner:
                raise UsageError(
                    f"{key}: expected plain values, got a node that would run {_short(str(inner[_TARGET]))}"
                )
            waiting += inner.values()
        elif isinstance(inner, list | tuple):
            waiting += inner


class _Copy:
    """Copies and checks up to a number of values."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, value: Any, key: str, depth: int = 0) -> Any:
        """Return a copy of the value of a key."""
        self.count += 1
        if depth > _MAX_DEPTH or self.count > _MAX_VALUES:
            raise UsageError(f"{_short(key)}: is nested too deeply, or there are too many values")
        if isinstance(value, Mapping):
            names = list(type(value).__iter__(value))  # of the type, whatever attributes the mapping has
            for name in names:
                _check_name(name, key)
            return {name: self.of(value[name], f"{key}.{name}".lstrip("."), depth + 1) for name in names}
        if isinstance(value, list | tuple):
            inside = [self.of(inner, f"{key}[{number}]", depth + 1) for number, inner in enumerate(value)]
            return inside if isinstance(value, list) else tuple(inside)
        if not isinstance(value, _PLAIN):
            raise UsageError(f"{_short(key)}: expected a plain value, got a {type(value).__name__}")
        if isinstance(value, str) and _REFERENCE in value:
            raise UsageError(f"{_short(key)}={_short(value)}: {_REMEDY}")
        if isinstance(value, str) and not is_text(value):
            raise UsageError(f"{_short(key)}={_short(value)}: expected a text without null characters")
        return value


_REMEDY = "expected a plain value, got a reference (${...}), which is not resolved here"


def _check_name(name: Any, key: str) -> None:
    if not isinstance(name, str | int):
        raise UsageError(f"{_short(key)}: expected keys that are strings, got a {type(name).__name__}")
    if _REFERENCE in str(name):
        raise UsageError(f"{_short(f'{key}.{name}'.lstrip('.'))}: {_REMEDY}")


def _short(text: str) -> str:
    """Return the start of a text of a file, for messages.

    >>> _short("a" * 100).endswith("aaa..."), _short("a")
    (True, 'a')
    """
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return shown if shown.isprintable() else ascii(shown)
