"""The doctests of experiments/reproduce."""

import doctest
import importlib
import pkgutil

import pytest

import reproduce


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(reproduce.__path__, "reproduce.")])
def test_doctests(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
