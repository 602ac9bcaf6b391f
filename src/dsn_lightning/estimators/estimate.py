"""The contract of an estimator of the policy gradient, and what estimators share."""

import inspect
from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor

from dsn_lightning.errors import UsageError


class RewardFunction(Protocol):
    """R of Eq. 6 for one batch of section clips."""

    def __call__(self, actions: Tensor) -> Tensor:
        """Return R of actions (..., B, M), of the same shape, without gradient.

        Actions in one call cost one pass of the classifier, in which each clip is once.
        """


class Estimate(NamedTuple):
    """What an estimator returns."""

    loss: Tensor  # scalar whose gradient is minus the estimated gradient of the expected reward
    action: Tensor  # A, index of the clip drawn in each section, (B, M)
    reward: Tensor  # R(A), (B, M)
    baseline: Tensor  # what was subtracted from R(A), (B, M)


class Estimator(Protocol):
    """Estimates the gradient of the expected reward (Eq. 7): a function, one file each."""

    def __call__(self, log_policy: Tensor, *, uniforms: Tensor, reward: RewardFunction) -> Estimate:
        """Return a loss with the estimated gradient.

        Args:
            log_policy: log P of each section, (B, M, N), with gradient.
            uniforms: numbers in [0, 1) that decide the actions, (B, M), float64.
            reward: R of an action (Eq. 6).
        """


def check_estimator(estimator: Callable[..., Estimate], *, key: str) -> None:
    """Check that a callable can be called as an `Estimator`; ``key``, in the message, says where it was configured.

    Raises:
        UsageError: shows the expected parameters and those that it has.
    """
    expected = "expected a callable with the parameters (log_policy, *, uniforms, reward)"
    if not callable(estimator):
        raise UsageError(f"{key}: {expected}, got {type(estimator).__name__}")
    try:
        signature = inspect.signature(estimator)
    except ValueError:  # some built-in callables have none
        return
    try:
        signature.bind(None, uniforms=None, reward=None)
    except TypeError as error:
        names = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
        raise UsageError(f"{key}: {expected}, got {inspect.Signature(names)}: {error}") from error


def sample_actions(log_policy: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one clip per section, (B, M), from log P (B, M, N) by inverting its cumulative distribution.

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
