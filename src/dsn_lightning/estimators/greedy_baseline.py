"""The paper's estimator: REINFORCE with the reward of the greedy action as its baseline (Eq. 11)."""

import torch
from torch import Tensor

from dsn_lightning.estimators.estimate import Estimate, RewardFunction, log_probability, sample_actions


def reinforce_with_greedy_baseline(log_policy: Tensor, *, uniforms: Tensor, reward: RewardFunction) -> Estimate:
    """Estimate grad J = E[(R(A) - R(B)) grad log pi(A)], with B the most probable clip (Eq. 11).

    The loss is the mean over videos and sections, where Algorithm 1 sums over sections; so the step size does not
    depend on M. See `Estimator`.
    """
    action = sample_actions(log_policy, uniforms)  # A, line 12
    greedy = log_policy.argmax(-1)  # B
    reward_a, reward_b = reward(torch.stack([action, greedy]))  # line 13
    advantage = (reward_a - reward_b).detach()
    loss = -(advantage * log_probability(log_policy, action)).mean()  # line 14
    return Estimate(loss, action, reward_a, reward_b)
