"""Reading plain values into frozen dataclasses whose fields say what they accept.

A settings class declares each key once, as a field with a rule: its type, its range and what to say otherwise. `read`
turns a mapping into such an object, or names the key, its value and the remedy.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dsn_lightning.errors import UsageError

Node = Mapping[str, Any]
"""Plain values that something is built from, with its public name under ``_target_``."""

_MAY_BE_INFINITE = ("deadline",)
"""Names of keys for which .inf means no limit."""

_MISSING: Any = dataclasses.MISSING
_Section = TypeVar("_Section")


@dataclass(frozen=True)
class Rule:
    """What a key accepts."""

    convert: Callable[[Any], Any]  # returns the value to keep, or raises ValueError
    remedy: str  # what the message says after ``key=value:``


def setting(
    accepts: Callable[[Any], bool],
    remedy: str,
    *,
    optional: bool = False,
    default: Any = _MISSING,
    convert: Callable[[Any], Any] = lambda value: value,
) -> Any:
    """Return a dataclass field with a rule.

    Args:
        accepts: whether a value is accepted.
        remedy: what to say of one that is not.
        optional: accept None as well.
        default: where the key is absent; without one an absent key is an error.
        convert: applied to accepted values.
    """

    def checked(value: Any) -> Any:
        if value is None and optional:
            return None
        if not accepts(value):
            raise ValueError(remedy)
        return convert(value)

    return dataclasses.field(default=default, metadata={"rule": Rule(checked, remedy)})


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(at_least: int, *, optional: bool = False, default: Any = _MISSING) -> Any:
    """Return a field for a whole number."""
    return setting(
        lambda value: is_whole(value) and value >= at_least,
        f"must be a whole number of at least {at_least}",
        optional=optional,
        default=default,
    )


def wholes(at_least: int, *, default: Any = _MISSING) -> Any:
    """Return a field for one whole number or a list of them, kept as a tuple."""
    return setting(
        lambda value: (
            bool(numbers := as_tuple(value)) and all(is_whole(number) and number >= at_least for number in numbers)
        ),
        f"must be a whole number of at least {at_least}, or a list of them",
        default=default,
        convert=as_tuple,
    )


def number(
    *,
    above: float | None = None,
    at_least: float = -math.inf,
    says: str = "",
    optional: bool = False,
    default: Any = _MISSING,
) -> Any:
    """Return a field for a number above a bound, or at least at it; ``says`` begins the message with what it is."""
    low, bound = (at_least, f"of at least {at_least:g}") if above is None else (above, f"above {above:g}")
    return setting(
        lambda value: is_number(value) and (value > low if above is not None else value >= low),
        f"{says}must be a number {bound}" if math.isfinite(low) else f"{says}must be a number",
        optional=optional,
        default=default,
    )


def fraction(*, default: Any = _MISSING) -> Any:
    """Return a field for a number in [0, 1]."""
    return setting(lambda value: is_number(value) and 0 <= value <= 1, "must lie between 0 and 1", default=default)


def flag(*, default: Any = _MISSING) -> Any:
    """Return a field for true or false."""
    return setting(lambda value: isinstance(value, bool), "must be true or false", default=default)


def whole_or_auto(at_least: int) -> Any:
    """Return a field for a whole number, or ``auto``."""
    return setting(
        lambda value: value == "auto" or (is_whole(value) and value >= at_least),
        f"must be a whole number of at least {at_least}, or auto",
    )


def one_of(*values: Any, remedy: str = "", optional: bool = False, default: Any = _MISSING) -> Any:
    """Return a field for one of some values."""
    words = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    return setting(
        lambda value: any(value == other and type(value) is type(other) for other in values),
        remedy or f"must be {', '.join(words[:-1])} or {words[-1]}",
        optional=optional,
        default=default,
    )


def text(*, optional: bool = False, default: Any = _MISSING) -> Any:
    """Return a field for a string; numbers are converted."""
    return setting(
        lambda value: isinstance(value, str) or is_number(value),
        "must be a string",
        optional=optional,
        default=default,
        convert=str,
    )


def numbers(count: int | None = None, *, remedy: str, above: float = -math.inf, default: Any = _MISSING) -> Any:
    """Return a field for a list of numbers, kept as a tuple."""
    return setting(
        lambda value: (
            isinstance(value, list | tuple)
            and count in (None, len(value))
            and all(is_number(number) and not number <= above for number in value)
        ),
        remedy,
        default=default,
        convert=tuple,
    )


def node(*, optional: bool = False, default: Any = _MISSING) -> Any:
    """Return a field for what something is built from; see `Node`."""
    return setting(
        lambda value: isinstance(value, Mapping), "must be a mapping of keys", optional=optional, default=default
    )


def anything(*, default: Any = _MISSING) -> Any:
    """Return a field that whoever uses it checks."""
    return setting(lambda _: True, "", default=default)


def section(cls: type[Any]) -> Any:
    """Return a field for a group of keys, read into ``cls``."""
    return dataclasses.field(metadata={"section": cls})


def all_keys(*, passed_on: bool = False) -> Any:
    """Return a field for the whole mapping that its section is read from; ``passed_on``: to a constructor."""
    return dataclasses.field(metadata={"all_keys": True} | ({"passed_on": True} if passed_on else {}))


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Return a list as a tuple, and one value as a tuple of one.

    >>> as_tuple([1, 2]), as_tuple(3)
    ((1, 2), (3,))
    """
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def read(cls: type[_Section], values: Mapping[str, Any], *, prefix: str = "") -> _Section:
    """Read a mapping into a settings class, whose fields have rules; keys that it does not know are left to others.

    Args:
        cls: a dataclass.
        values: plain values by key.
        prefix: prefix of the keys in messages, such as ``test.``.

    Raises:
        UsageError: keys are missing, a value is not accepted, or a number is not finite; names the key, its value and
            the remedy.
    """
    found: dict[str, Any] = {}
    missing = []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        key = prefix + field.name
        if "section" in field.metadata:
            part = values.get(field.name)
            if not isinstance(part, Mapping):
                missing.append(key)
            else:
                found[field.name] = read(field.metadata["section"], part, prefix=f"{key}.")
        elif "all_keys" in field.metadata:
            found[field.name] = values
        elif field.name in values:
            found[field.name] = _checked(field.metadata["rule"], values[field.name], key)
        elif field.default is dataclasses.MISSING:
            missing.append(key)
    if missing:
        raise UsageError(f"missing keys: {', '.join(missing)}")
    if not prefix:
        _refuse_non_finite(values)
    return cls(**found)


def _refuse_non_finite(values: Any, key: str = "") -> None:
    """Refuse NaN and infinity, also in the arguments of what is built; of several keys, the one highest up is named."""
    if isinstance(values, Mapping):
        for name, value in sorted(values.items(), key=lambda item: isinstance(item[1], Mapping)):
            _refuse_non_finite(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list | tuple):
        for value in values:
            _refuse_non_finite(value, key)
    elif isinstance(values, float) and (
        math.isnan(values) or (math.isinf(values) and key.rpartition(".")[2] not in _MAY_BE_INFINITE)
    ):
        raise UsageError(f"{key}={values}: must be a finite number")


def _checked(rule: Rule, value: Any, key: str) -> Any:
    try:
        return rule.convert(value)
    except ValueError:
        raise UsageError(f"{key}={shown(value)}: {rule.remedy}") from None


def shown(value: Any) -> str:
    """Return a value as a command line has it.

    >>> shown([1, 2]), shown(None), shown(True)
    ('[1,2]', 'null', 'true')
    """
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def require_paths(settings: object, examples: Mapping[str, str]) -> None:
    """Raise `UsageError` for a key without a path, with an example of one."""
    for key, example in examples.items():
        if getattr(settings, key) is None:
            raise UsageError(f"{key}=null: give {key}=PATH, such as {key}={example}")
