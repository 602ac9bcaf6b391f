"""The gradient of the expected reward without sampling: a section has few arms, so all of them are tried."""

from torch import Tensor

from dsn_lightning.estimators.estimate import Estimate, RewardFunction, sample_actions


def exact(log_policy: Tensor, *, uniforms: Tensor, reward: RewardFunction) -> Estimate:
    """Return grad J = sum_n R_n grad p_n, over the arms of each section.

    The gradient is exact if the reward of a section depends on its own clip alone, as in Eq. 6. If it depends on the
    other sections as well, their actions are drawn, and the gradient is an unbiased estimate. All candidates are
    classified. The baseline is the expected reward. See `Estimator`.
    """
    action = sample_actions(log_policy, uniforms)
    rewards = reward.of_all_arms(action)  # (B, M, A)
    expected = (log_policy.exp() * rewards).sum(-1)
    reward_a = rewards.gather(-1, action[..., None]).squeeze(-1)
    return Estimate(-expected.mean(), action, reward_a, expected.detach())
