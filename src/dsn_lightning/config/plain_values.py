"""What a resolved configuration may consist of: plain values, which nothing is looked up or computed for."""

from collections.abc import Mapping
from typing import Any

from dsn_lightning.errors import UsageError

_REFERENCE = "${"
_MAX_DEPTH = 32
_MAX_VALUES = 100_000
_PLAIN = (str, int, float, bool, type(None))


def check_plain(values: Any) -> None:
    """Refuse whatever is not plain: references (``${...}``) in keys or values at any depth, and objects.

    Mappings, lists, strings, numbers, true, false and null are plain. A reference is refused and not resolved, as
    resolvers read environment variables and can build objects.

    Raises:
        UsageError: names the key; also for a configuration that is nested too deeply or has too many values.
    """
    waiting, count = [("", values, 0)], 0
    while waiting:
        key, value, depth = waiting.pop()
        count += 1
        if depth > _MAX_DEPTH or count > _MAX_VALUES:
            raise UsageError(f"{_short(key)}: is nested too deeply, or there are too many values")
        if isinstance(value, Mapping):
            for name in value:
                _check_name(name, key)
            waiting += [(f"{key}.{name}".lstrip("."), inner, depth + 1) for name, inner in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(f"{key}[{number}]", inner, depth + 1) for number, inner in enumerate(value)]
        elif not isinstance(value, _PLAIN):
            raise UsageError(f"{_short(key)}: expected a plain value, got a {type(value).__name__}")
        elif isinstance(value, str) and _REFERENCE in value:
            raise UsageError(f"{_short(key)}={_short(value)}: {_REMEDY}")


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
