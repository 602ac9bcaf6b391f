"""Which overrides of a table apply to a training."""

import pytest

from helpers.synthetic import composed
from reproduce.overrides import applicable

OVERRIDES = ["schedule.lr=1", "schedule.ema=0.9", "algorithm.exploration=0.1", "flow.schedule.lr=2"]


@pytest.mark.parametrize(
    ("modality", "algorithm", "passed"),
    [
        ("rgb", "dsn", ["schedule.lr=1", "schedule.ema=0.9", "algorithm.exploration=0.1"]),
        ("rgb", "baseline", ["schedule.lr=1", "schedule.ema=0.9"]),
        ("flow", "dsn", ["schedule.ema=0.9", "algorithm.exploration=0.1", "schedule.lr=2"]),
    ],
)
def test_overrides_apply_by_modality_and_algorithm(modality, algorithm, passed):
    settings = composed(f"dataset.modality={modality}", f"algorithm={algorithm}")
    assert [*applicable(OVERRIDES, settings).values()] == passed


def test_a_flow_override_replaces_keys_below_its_own():
    settings = composed("dataset.modality=flow", "algorithm=baseline")
    overrides = ["schedule.lr=1", "scheduler=x", "flow.schedule=tiny"]
    assert applicable(overrides, settings) == {"scheduler=x": "scheduler=x", "flow.schedule=tiny": "schedule=tiny"}
