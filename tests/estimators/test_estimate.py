"""What estimators share, and their contract."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from dsn_lightning.algorithms.batch_rewards import BatchRewards
from dsn_lightning.errors import UsageError
from dsn_lightning.estimators.estimate import (
    Estimate,
    check_estimator,
    log_probability,
    num_draws,
    num_updates,
    sample_actions,
)
from dsn_lightning.rewards import TrueClass

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.mark.parametrize("file", sorted((CONF / "estimator").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_estimator_satisfies_the_contract(file):
    estimator = instantiate(OmegaConf.load(file))
    check_estimator(estimator, key="estimator")
    log_policy = torch.randn(2, 3, 4).log_softmax(-1).requires_grad_()
    logits = torch.randn(2, 3, 4, 5)
    reward = BatchRewards(
        lambda chosen: logits, TrueClass(), torch.eye(5)[:2], num_arms=4, num_clips=4, consensus="probabilities"
    )
    draws = num_draws(estimator, 4)
    uniforms = torch.rand((2, 3) if draws == 1 else (draws, 2, 3), dtype=torch.float64)
    estimate = estimator(log_policy, uniforms=uniforms, reward=reward)
    assert isinstance(estimate, Estimate)
    assert len(estimate.further) == num_updates(estimator) - 1
    assert estimate.action.shape == estimate.reward.shape == estimate.baseline.shape == (2, 3)
    estimate.loss.backward()
    assert log_policy.grad is not None
    assert log_policy.grad.isfinite().all()


@pytest.mark.parametrize(
    ("estimator", "complaint"),
    [
        (lambda log_policy, *, uniform, reward: None, r"got \(log_policy, \*, uniform, reward\): .*'uniform'"),
        (lambda log_policy, uniforms, reward, scale: None, r"got \(log_policy, uniforms, reward, scale\): .*'scale'"),
        (lambda: None, r"got \(\): "),
        (nn.Linear(3, 3), r"got \(input\): "),
        (3, "got int$"),
    ],
)
def test_other_callables_are_refused_with_their_parameters(estimator, complaint):
    expected = r"^estimator: expected a callable with the parameters \(log_policy, \*, uniforms, reward\), "
    with pytest.raises(UsageError, match=expected + complaint):
        check_estimator(estimator, key="estimator")


def test_sampled_actions_follow_the_policy():
    policy = torch.tensor([0.1, 0.2, 0.3, 0.4])
    uniforms = (torch.arange(1000) + 0.5).reshape(1, 1000) / 1000
    actions = sample_actions(policy.log().expand(1, 1000, 4), uniforms)
    assert torch.bincount(actions.flatten()).tolist() == [100, 200, 300, 400]


def test_log_probability_is_that_of_the_kept_clip():
    assert log_probability(torch.tensor([[[0.25, 0.75]]]).log(), torch.tensor([[1]])).exp().item() == 0.75
