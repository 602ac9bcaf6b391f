"""The policy's statistics, and the warning about a collapsed policy."""

import math
import warnings

import pytest
import torch

from dsn_lightning.algorithms.policy_monitor import PolicyMonitor, has_collapsed
from dsn_lightning.estimators.estimate import Estimate
from dsn_lightning.training.callbacks import EpochLog
from helpers.training import fit, make_dsn


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


def test_collapse_is_warned_about_with_the_remedy():
    model = make_dsn()
    torch.nn.init.constant_(model.observation.fc.bias, 0.0)
    model.observation.fc.bias.data[2] = 50.0  # always position 2, and sure of it
    with pytest.warns(UserWarning, match=r"collapsed.*keeps clip 2.*algorithm\.exploration"):
        fit(model, epochs=1, callbacks=[EpochLog()])


def test_a_policy_that_stays_uniform_is_named_after_the_last_epoch(capsys):
    fit(make_dsn(), epochs=2, callbacks=[EpochLog()])  # which cannot learn in two steps
    said = capsys.readouterr().err
    assert said.count("the policy is still uniform after the last epoch: its entropy is 1.38") == 1
    assert "ln 4 = 1.3863" in said

    model = make_dsn()
    model.observation.fc.bias.data[2] = 5.0
    fit(model, epochs=1, callbacks=[EpochLog()])
    assert "uniform" not in capsys.readouterr().err


def test_a_learning_policy_is_not_warned_about():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*collapsed.*")
        fit(make_dsn(), epochs=1, callbacks=[EpochLog()])
