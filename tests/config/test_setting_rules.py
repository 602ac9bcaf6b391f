"""Fields with rules: what they accept, and what is said of the rest."""

from dataclasses import dataclass

import pytest

from dsn_lightning.config.setting_rules import (
    all_keys,
    flag,
    fraction,
    number,
    one_of,
    read,
    section,
    shown,
    text,
    whole,
    wholes,
)
from dsn_lightning.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Inner:
    depth: int = whole(1)
    keys: object = all_keys()


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: int = whole(0)
    counts: tuple[int, ...] = wholes(1)
    rate: float = number(above=0)
    penalty: float = number(at_least=0, says="is a penalty and ")
    part: float = fraction()
    on: bool = flag()
    mode: str = one_of("skip", "raise")
    name: str | None = text(optional=True)
    extra: int = whole(1, default=7)
    inner: Inner = section(Inner)


GOOD = {
    "count": 0, "counts": [1, 2], "rate": 0.5, "penalty": 0, "part": 1, "on": True, "mode": "skip", "name": None,
    "inner": {"depth": 3, "more": "kept"},
}  # fmt: skip


def test_accepted_values_are_kept_and_lists_become_tuples():
    found = read(Outer, GOOD)
    assert (found.counts, found.rate, found.on, found.name, found.extra) == ((1, 2), 0.5, True, None, 7)
    assert read(Outer, GOOD | {"counts": 4}).counts == (4,)
    assert found.inner.keys == {"depth": 3, "more": "kept"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("count", -1, "count=-1: must be a whole number of at least 0"),
        ("count", True, "count=true: must be a whole number of at least 0"),
        ("count", 1.0, "count=1.0: must be a whole number of at least 0"),
        ("counts", [1, 0], r"counts=\[1,0\]: must be a whole number of at least 1, or a list of them"),
        ("rate", 0, "rate=0: must be a number above 0"),
        ("rate", float("nan"), "rate=nan: must be a number above 0"),
        ("rate", "fast", "rate=fast: must be a number above 0"),
        ("penalty", -0.5, "penalty=-0.5: is a penalty and must be a number of at least 0"),
        ("part", 1.5, "part=1.5: must lie between 0 and 1"),
        ("on", 1, "on=1: must be true or false"),
        ("mode", "stop", "mode=stop: must be skip or raise"),
        ("name", [], r"name=\[\]: must be a string"),
    ],
)
def test_a_refused_value_is_named_with_the_remedy(key, value, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        read(Outer, GOOD | {key: value})


def test_a_key_in_a_section_is_named_in_full():
    with pytest.raises(UsageError, match=r"^inner\.depth=0: must be a whole number of at least 1$"):
        read(Outer, GOOD | {"inner": {"depth": 0}})


def test_all_missing_keys_are_named_at_once():
    given = {key: value for key, value in GOOD.items() if key not in ("count", "mode", "inner")}
    with pytest.raises(UsageError, match=r"^missing keys: count, mode, inner$"):
        read(Outer, given)


def test_values_are_shown_as_a_command_line_has_them():
    assert [shown(value) for value in (None, False, [1, "a"], 0.5, "x")] == ["null", "false", "[1,a]", "0.5", "x"]
