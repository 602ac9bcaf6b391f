"""Stored configurations are plain values: a reference is refused wherever it stands, and nothing is resolved."""

import pytest

from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.plain_values import plain_copy
from dsn_lightning.config.stored_settings import stored_settings
from dsn_lightning.errors import UsageError


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"a": {"b": [1, {"c": "${oc.env:HOME}"}]}},
            r"^a\.b\[1\]\.c=\$\{oc\.env:HOME\}: expected a plain value, got a",
        ),
        ({"a": {"${oc.env:HOME}": 1}}, r"^a\.\$\{oc\.env:HOME\}: expected a plain value"),
        ({"a": "x${b}", "b": 1}, r"^a=x\$\{b\}: "),
        ({"a": "\\${b}"}, "expected a plain value"),
        ({"a": object()}, "^a: expected a plain value, got a object"),
        ({"a": {None: 1}}, "^a: expected keys that are strings, got a NoneType"),
        ({"a": nested(50)}, "is nested too deeply"),
        ({"a": [[0] * 1000] * 1000}, "too many values"),
    ],
)
def test_what_is_not_plain_is_refused(values, message):
    with pytest.raises(UsageError, match=message) as caught:
        plain_copy(values)
    assert "\n" not in str(caught.value)


def test_all_of_a_configuration_is_checked():
    values = dict(settings_of("run_dir=x").plain)
    assert stored_settings(values, where="here").plain == values
    with pytest.raises(UsageError, match=r"^here: unknown\[0\]=\$\{a\}: expected a plain value"):
        stored_settings({**values, "unknown": ["${a}"]}, where="here")


@pytest.mark.parametrize("content", [None, [], "text", {}, {"M": 1, "trainer": 3}])
def test_what_is_no_configuration_is_refused_with_its_file(content):
    with pytest.raises(UsageError, match=r"^here: "):
        stored_settings(content, where="here")
