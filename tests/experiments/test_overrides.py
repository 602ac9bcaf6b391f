"""Which overrides of a table apply to a training."""

import pytest
from omegaconf import OmegaConf

from reproduce.overrides import applicable

OVERRIDES = ["schedule.lr=1", "schedule.ema=0.9", "algorithm.exploration=0.1", "flow.schedule.lr=2"]


@pytest.mark.parametrize(
    ("modality", "algorithm", "passed"),
    [
        ("rgb", {"exploration": 0}, ["schedule.lr=1", "schedule.ema=0.9", "algorithm.exploration=0.1"]),
        ("rgb", {}, ["schedule.lr=1", "schedule.ema=0.9"]),
        ("flow", {"exploration": 0}, ["schedule.ema=0.9", "algorithm.exploration=0.1", "schedule.lr=2"]),
    ],
)
def test_overrides_apply_by_modality_and_algorithm(modality, algorithm, passed):
    cfg = OmegaConf.create({"dataset": {"modality": modality}, "algorithm": algorithm})
    assert [*applicable(OVERRIDES, cfg).values()] == passed


def test_a_flow_override_replaces_keys_below_its_own():
    cfg = OmegaConf.create({"dataset": {"modality": "flow"}, "algorithm": {}})
    overrides = ["schedule.lr=1", "scheduler=x", "flow.schedule=tiny"]
    assert applicable(overrides, cfg) == {"scheduler=x": "scheduler=x", "flow.schedule=tiny": "schedule=tiny"}
