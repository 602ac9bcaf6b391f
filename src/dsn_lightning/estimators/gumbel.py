"""Straight-through Gumbel-softmax: the gradient of the classifier's loss itself, not of a reward."""

import torch
from torch import Tensor, nn

from dsn_lightning.errors import UsageError
from dsn_lightning.estimators.estimate import Estimate, RewardFunction

_SMALLEST = 1e-12
"""Smaller uniform numbers are raised to it, because the noise of 0 is infinite."""


class Gumbel(nn.Module):
    """Descends the loss of the video's answer (Eq. 5) through a relaxed choice of clips.

    In the forward pass one arm a section is chosen: the largest of its log-probability plus Gumbel noise, which is a
    draw from the policy. In the backward pass the choice is replaced by a softmax of these sums at some temperature.
    As the temperature falls, the bias of the gradient falls and its variance grows. The reward is not used, only
    reported. See Jang, Gu and Poole, *Categorical Reparameterization with Gumbel-Softmax* (2017), and `Estimator`.

    The temperature falls from ``start`` to ``end`` geometrically over the first ``batches`` batches.

    Args:
        start: first temperature, > 0.
        end: last temperature, > 0 and at most ``start``.
        batches: number of batches over which the temperature falls, at least 1.
    """

    num_draws = 0  # one number for each arm
    ignores_reward = True
    batch: Tensor

    def __init__(self, *, start: float = 2.0, end: float = 0.5, batches: int = 1000) -> None:
        super().__init__()
        if not start >= end > 0:
            raise UsageError(f"estimator.start={start} estimator.end={end}: expected start >= end > 0")
        if type(batches) is not int or batches < 1:
            raise UsageError(f"estimator.batches={batches}: must be a whole number of at least 1")
        self.start, self.end, self.batches = start, end, batches
        self.register_buffer("batch", torch.zeros((), dtype=torch.int64))  # of the training so far

    def temperature(self) -> Tensor:
        """Return the temperature of the next batch."""
        done = (self.batch / self.batches).clamp(max=1.0)
        return self.start * (self.end / self.start) ** done

    def forward(self, log_policy: Tensor, *, uniforms: Tensor, reward: RewardFunction) -> Estimate:
        """Return the estimate, and lower the temperature."""
        noise = -(-uniforms.clamp(min=_SMALLEST).log()).log()  # (A, B, M), Gumbel
        scores = log_policy + noise.movedim(0, -1).to(log_policy)
        soft = (scores / self.temperature().to(scores)).softmax(-1)  # (B, M, A)
        action = scores.argmax(-1)
        chosen = nn.functional.one_hot(action, scores.shape[-1]).to(soft)
        likelihood = reward.log_likelihood(chosen + soft - soft.detach())
        self.batch.add_(1)
        reward_a = reward(action)
        return Estimate(-likelihood.mean(), action, reward_a, torch.zeros_like(reward_a))
