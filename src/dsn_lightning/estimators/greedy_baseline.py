"""The paper's estimator: REINFORCE with the reward of the greedy action as its baseline (Eq. 11)."""

import torch
from torch import Tensor

from dsn_lightning.estimators.estimate import Estimate, RewardFunction, log_probability, sample_actions


def reinforce_with_greedy_baseline(log_policy: Tensor, *, uniforms: Tensor, reward: RewardFunction) -> Estimate:
    """Estimate grad J = E[(R(A) - R(B)) grad log pi(A)], with B the most probable clip (Eq. 11).

    Where A = B the advantage is 0, so R(B) is not computed a second time. The loss is the mean over videos and
    sections, where Algorithm 1 sums over sections; so the step size does not depend on M.

    Args:
        log_policy: log P of each section, (B, M, N), with gradient.
        uniforms: numbers in [0, 1) that decide the actions, (B, M).
        reward: R of an action (Eq. 6).
    """
    action = sample_actions(log_policy, uniforms)  # A, line 12
    greedy = log_policy.argmax(-1)  # B
    reward_a = reward(action)  # line 13
    reward_b = torch.where(action == greedy, reward_a, reward(greedy, where=action != greedy))
    advantage = (reward_a - reward_b).detach()
    loss = -(advantage * log_probability(log_policy, action)).mean()  # line 14
    return Estimate(loss, action, reward_a, reward_b)
