"""The package's training step against a naive Algorithm 1: the same gradients, and what is measured."""

import doctest
import importlib
from pathlib import Path

import pytest

SPEED = Path(__file__).resolve().parents[2] / "experiments" / "speed"


@pytest.fixture
def step(monkeypatch):
    monkeypatch.syspath_prepend(SPEED)
    return importlib.import_module("training_step")


@pytest.mark.parametrize(("policy", "channels_last"), [("uniform", False), ("peaked", True)])
def test_gradients_are_those_of_the_naive_step(step, policy, channels_last):
    row = step.compare((2, 3), 4, 2, policy=policy, channels_last=channels_last, tiny=True)
    assert row["largest_relative_difference_of_gradients"] < 1e-3
    assert (row["sections_with_A_equal_to_B"] > 0.7) == (policy == "peaked")
    assert row["cpu_seconds_of_parts"]["ours"].keys() == row["cpu_seconds_of_parts"]["naive"].keys()
    assert all(row["seconds"][name]["min"] > 0 for name in ("ours", "naive"))


def test_profile_names_the_operators_of_both_steps(step):
    """Each step runs one backward pass through the seventeen convolutions of the tiny networks."""
    measure = importlib.import_module("step_profile").measure
    found = measure((1, 2), 1, 1, policy="uniform", channels_last=False, tiny=True, precision="32-true")
    operators = {row["operator"]: row for row in found["operators"]}
    assert len(operators) == 10
    shares = [row["package_share"] for row in found["operators"]]
    assert shares == sorted(shares, reverse=True)
    assert 0.5 < sum(shares) <= 1
    backward = operators["convolution_backward"]
    assert backward["package_calls"] == backward["naive_calls"] == 17
    assert all(found["ms"][name] >= backward[f"{name}_ms"] > 0 for name in ("naive", "package"))


@pytest.mark.parametrize("name", ["naive_step", "training_step"])
def test_doctests_of_the_comparison(step, name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
