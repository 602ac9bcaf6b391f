"""Proximal policy optimisation: several clipped updates on each batch (Schulman et al., 2017)."""

from functools import partial

import torch
from torch import Tensor

from dsn_lightning.errors import UsageError
from dsn_lightning.estimators.estimate import Estimate, RewardFunction, log_probability, sample_actions


def clipped_objective(log_ratio: Tensor, advantage: Tensor, *, clip: float) -> Tensor:
    """Return PPO's clipped surrogate of each action, for the log ratio of its new to its old probability.

    >>> clipped_objective(torch.tensor([0.5, -0.5]), torch.tensor([1.0, 1.0]), clip=0.2)
    tensor([1.2000, 0.6065])
    """
    ratio = log_ratio.exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


class PPO:
    """Clipped updates with the advantage R(A) - R(B) of Eq. 11; the rewards of a batch serve all of its updates.

    The first update of a batch has Eq. 11's gradient. The others are biased: their actions were drawn from the policy
    before the first update, and clipping removes the gradient of actions whose probability has changed much. Each
    further update costs a pass of the observation network, and none of the classifier. See Schulman et al., *Proximal
    Policy Optimization Algorithms* (2017), and `Estimator`.

    Args:
        updates: number of updates on each batch, at least 1.
        clip: how far the ratio of new to old probability may be from 1 to count, > 0.
    """

    def __init__(self, *, updates: int = 4, clip: float = 0.2) -> None:
        if type(updates) is not int or updates < 1:
            raise UsageError(f"estimator.updates={updates}: must be a whole number of at least 1")
        if not clip > 0:
            raise UsageError(f"estimator.clip={clip}: must be above 0")
        self.num_updates = updates
        self.clip = clip

    def __call__(self, log_policy: Tensor, *, uniforms: Tensor, reward: RewardFunction) -> Estimate:
        """Return the first update, and the further ones."""
        action = sample_actions(log_policy, uniforms)
        reward_a, reward_b = reward(torch.stack([action, log_policy.argmax(-1)]))
        old = log_probability(log_policy.detach(), action)
        loss = partial(self._loss, action, old, (reward_a - reward_b).detach())
        return Estimate(loss(log_policy), action, reward_a, reward_b, (loss,) * (self.num_updates - 1))

    def _loss(self, action: Tensor, old: Tensor, advantage: Tensor, log_policy: Tensor) -> Tensor:
        log_ratio = log_probability(log_policy, action) - old
        return -clipped_objective(log_ratio, advantage, clip=self.clip).mean()
