"""Distillation: the policy imitates the rewards of the section's clips (SCSampler's idea)."""

from torch import Tensor

from dsn_lightning.errors import UsageError
from dsn_lightning.estimators.estimate import Estimate, RewardFunction, sample_actions


class Distill:
    """Moves the policy towards softmax(R / temperature) over the arms of each section, by cross-entropy.

    Not an estimate of the policy gradient: it also learns from arms that the policy never chooses, and it stops where
    the policy equals its target, not where the expected reward is highest. As the temperature falls to 0, the target
    becomes the best arm. All candidates are classified. Likewise, SCSampler trains its ranking of clips on the
    classifier's scores (Korbar, Tran and Torresani, *SCSampler: Sampling Salient Clips from Video for Efficient Action
    Recognition*, ICCV 2019). See `Estimator`.

    Args:
        temperature: > 0, in units of the reward.
    """

    def __init__(self, *, temperature: float = 0.1) -> None:
        if not temperature > 0:
            raise UsageError(f"estimator.temperature={temperature}: must be above 0")
        self.temperature = temperature

    def __call__(self, log_policy: Tensor, *, uniforms: Tensor, reward: RewardFunction) -> Estimate:
        """Return the cross-entropy with the target, and an action of the policy with its reward."""
        action = sample_actions(log_policy, uniforms)
        rewards = reward.of_all_arms(action)  # (B, M, A)
        target = (rewards / self.temperature).softmax(-1)
        loss = -(target * log_policy).sum(-1).mean()
        reward_a = rewards.gather(-1, action[..., None]).squeeze(-1)
        return Estimate(loss, action, reward_a, (log_policy.detach().exp() * rewards).sum(-1))
