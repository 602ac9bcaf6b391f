"""Building from nodes: what is called with which arguments, and what is said of a node that cannot be built."""

from functools import partial

import pytest

from dsn_lightning.config.build_part import build_part, located
from dsn_lightning.errors import UsageError


def given(*positional: object, **arguments: object) -> tuple:
    """Return what it was called with."""
    if arguments.get("refuse"):
        raise UsageError("size: is too small")
    return positional, arguments


GIVEN = f"{__name__}.given"


def test_nodes_are_built_inside_out_and_values_are_final():
    node = {"_target_": GIVEN, "a": [{"_target_": GIVEN, "b": "${oc.env:HOME}"}], "c": {"d": {"_target_": GIVEN}}}
    assert build_part(node, "key") == ((), {"a": [((), {"b": "${oc.env:HOME}"})], "c": {"d": ((), {})}})


def test_arguments_win_also_inside_of_nodes():
    node = {"_target_": GIVEN, "trunk": {"_target_": GIVEN, "size": 1, "depth": 2}}
    assert build_part(node, "key", trunk={"size": 3}, other=4) == (
        (),
        {"trunk": ((), {"size": 3, "depth": 2}), "other": 4},
    )
    assert node["trunk"]["size"] == 1


def test_what_a_constructor_gets_is_a_copy():
    node = {"_target_": GIVEN, "sizes": [1, 2], "_recursive_": False, "inner": {"_target_": "nowhere"}}
    build_part(node, "key")[1]["sizes"].append(3)
    assert node["sizes"] == [1, 2]


def test_positional_arguments_and_partial_calls():
    made = build_part({"_target_": GIVEN, "_partial_": True, "_args_": [1], "_convert_": "all", "a": 2}, "key")
    assert isinstance(made, partial)
    assert made() == ((1,), {"a": 2})


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "no_such_package.A"}, "^key._target_=no_such_package.A: cannot be imported"),
        ({"_target_": "pathlib.NoSuch"}, "^key._target_=pathlib.NoSuch: cannot be imported"),
        ({"_target_": ""}, "^key._target_=: cannot be imported"),
        ({"_target_": "???"}, "^key._target_=...: expected the name of a class"),
        ({"_target_": f"{__name__}.GIVEN"}, "expected a class or a function, got a str"),
        ({"_target_": GIVEN, "size": "???"}, "^key.size: is not set"),
        ({"_target_": GIVEN, 3: 1}, "^key.3: expected the name of an argument"),
        ({"_target_": GIVEN, "refuse": True}, "^key.size: is too small"),
        ({"_target_": GIVEN, "a": [{"_target_": GIVEN, "refuse": True}]}, "^key.a.0.size: is too small"),
    ],
)
def test_a_node_that_cannot_be_built_is_named(node, message):
    with pytest.raises(UsageError, match=message):
        build_part(node, "key")


def test_a_name_may_lead_through_a_class_and_into_a_module_not_yet_imported():
    assert located("xml.sax.saxutils.XMLGenerator.endElement", "key").__name__ == "endElement"
