"""REINFORCE with a moving average of the rewards as its baseline (Williams, 1992)."""

import torch
from torch import Tensor, nn

from dsn_lightning.errors import UsageError
from dsn_lightning.estimators.estimate import Estimate, RewardFunction, log_probability, sample_actions


class MovingAverage(nn.Module):
    """Estimates grad J = E[(R(A) - b) grad log pi(A)], where b is a moving average of the rewards of earlier batches.

    Unbiased, since b does not depend on the actions of the batch. In the first batch b is 0. All processes have the
    same b. See `Estimator`.

    Args:
        momentum: of the average, in [0, 1): b becomes momentum * b + (1 - momentum) * (mean reward of the batch).
    """

    average: Tensor
    has_average: Tensor

    def __init__(self, *, momentum: float = 0.9) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise UsageError(f"estimator.momentum={momentum}: must be at least 0 and below 1")
        self.momentum = momentum
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("has_average", torch.zeros((), dtype=torch.bool))

    def forward(self, log_policy: Tensor, *, uniforms: Tensor, reward: RewardFunction) -> Estimate:
        """Return the estimate, and add the batch to the average."""
        action = sample_actions(log_policy, uniforms)
        reward_a = reward(action)
        baseline = self.average.to(reward_a).clone().expand_as(reward_a)
        loss = -((reward_a - baseline).detach() * log_probability(log_policy, action)).mean()
        self._add(reward_a)
        return Estimate(loss, action, reward_a, baseline)

    @torch.no_grad()
    def _add(self, rewards: Tensor) -> None:
        sums = torch.stack([rewards.sum(), rewards.new_full((), float(rewards.numel()))])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        mean = sums[0] / sums[1]
        moved = torch.where(self.has_average, self.average.lerp(mean.to(self.average), 1 - self.momentum), mean)
        finite = mean.isfinite()  # a skipped step must not spoil the average
        self.average.copy_(torch.where(finite, moved, self.average))
        self.has_average.logical_or_(finite)
