"""How the gradient of the expected reward (Eq. 7) is estimated: one file an estimator.

An estimator is a callable ``(log_policy, *, uniforms, reward) -> Estimate``. The paper's own (Eq. 11) stands in
`dsn_lightning.algorithms.dsn`; the others are here.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

RewardFunction = Callable[..., Tensor]
"""``reward(action, where=None)``: R(action) (B, M) without gradient; 0 where the mask ``where`` does not hold."""


class Estimate(NamedTuple):
    """What an estimator returns.

    Attributes:
        loss: scalar whose gradient is minus the estimated gradient of the expected reward.
        action: A, index of the clip drawn in each section, (B, M).
        reward: R(A), (B, M).
        baseline: what was subtracted from R(A), (B, M).
    """

    loss: Tensor
    action: Tensor
    reward: Tensor
    baseline: Tensor


def sample_actions(log_policy: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one clip a section from the policy by inverting its cumulative distribution, (B, M).

    Args:
        log_policy: log p, (B, M, N).
        uniforms: a number in [0, 1) for each section, (B, M).

    >>> import torch
    >>> sample_actions(torch.tensor([[[0.2, 0.5, 0.3]]]).log(), torch.tensor([[0.6]]))
    tensor([[1]])
    """
    edges = log_policy.detach().double().exp().cumsum(-1)  # (B, M, N)
    edges = edges / edges[..., -1:]
    return (uniforms.to(edges)[..., None] >= edges).sum(-1).clamp(max=edges.shape[-1] - 1)


def log_probability(log_policy: Tensor, action: Tensor) -> Tensor:
    """log pi(A) = sum_n a_n log p_n for A given as an index, (B, M)."""
    return log_policy.gather(-1, action[..., None]).squeeze(-1)
