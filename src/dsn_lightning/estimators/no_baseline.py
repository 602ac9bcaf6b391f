"""Plain REINFORCE, without a baseline (Eq. 8)."""

import torch
from torch import Tensor

from dsn_lightning.estimators.estimate import Estimate, RewardFunction, log_probability, sample_actions


def reinforce(log_policy: Tensor, *, uniforms: Tensor, reward: RewardFunction) -> Estimate:
    """Estimate grad J = E[R(A) grad log pi(A)] from one action per section (Eq. 8). See `Estimator`."""
    action = sample_actions(log_policy, uniforms)
    reward_a = reward(action)
    loss = -(reward_a.detach() * log_probability(log_policy, action)).mean()
    return Estimate(loss, action, reward_a, torch.zeros_like(reward_a))
