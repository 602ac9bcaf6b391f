"""The examples in the docstrings of every module."""

import doctest
import importlib
import pkgutil

import pytest

import dsn_lightning


def modules():
    return [m.name for m in pkgutil.walk_packages(dsn_lightning.__path__, "dsn_lightning.")]


@pytest.mark.parametrize("name", modules())
def test_doctests(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
