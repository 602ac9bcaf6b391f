"""An estimator: two actions a section, each the other's baseline."""

import torch
from torch import Tensor

from dsn_lightning.estimators import Estimate, RewardFunction, log_probability, sample_actions


def leave_one_out(log_policy: Tensor, *, uniforms: Tensor, reward: RewardFunction) -> Estimate:
    """Estimate the gradient from two actions."""
    first, second = sample_actions(log_policy, uniforms), sample_actions(log_policy, 1 - uniforms)
    of_first, of_second = reward(torch.stack([first, second]))
    advantage = (of_first - of_second).detach()
    gain = advantage * (log_probability(log_policy, first) - log_probability(log_policy, second)) / 2
    return Estimate(-gain.mean(), first, of_first, of_second)
