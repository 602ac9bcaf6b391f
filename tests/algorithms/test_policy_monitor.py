"""The policy's statistics."""

import math

import pytest
import torch

from dsn_lightning.algorithms.policy_monitor import PolicyMonitor, has_collapsed
from dsn_lightning.estimators.estimate import Estimate


def test_statistics_by_hand():
    monitor = PolicyMonitor()
    log_policy = torch.tensor([[[0.75, 0.25], [0.5, 0.5]]]).log()
    monitor.update(
        log_policy,
        Estimate(torch.zeros(()), torch.tensor([[0, 1]]), torch.tensor([[0.8, -0.5]]), torch.tensor([[0.8, 0.3]])),
    )
    found = monitor.compute()
    entropy = (-0.75 * math.log(0.75) - 0.25 * math.log(0.25) + math.log(2)) / 2
    assert found["entropy"].item() == pytest.approx(entropy)
    assert found["reward"].item() == pytest.approx(0.15)
    assert found["right"].item() == 0.5
    assert found["baseline"].item() == pytest.approx(0.55)
    assert found["advantage_std"].item() == pytest.approx(0.4)
    assert found["agreement"].item() == 0.5
    assert found["position_share"].tolist() == [1.0, 0.0]


def test_sure_of_different_positions_is_no_collapse():
    assert not has_collapsed({"entropy": torch.tensor(0.0), "position_share": torch.tensor([0.5, 0.5])})
    assert not has_collapsed({"entropy": torch.tensor(0.6), "position_share": torch.tensor([1.0, 0.0])})
