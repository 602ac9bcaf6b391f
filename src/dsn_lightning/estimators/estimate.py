"""The contract of an estimator of the policy gradient, and what estimators share."""

import inspect
from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from dsn_lightning.errors import UsageError


class RewardFunction(Protocol):
    """The rewards of one batch. The arms are A = N, one for each clip of a section, or A = N + 1: the last skips it.

    Each call costs one pass of the classifier, over each clip that it needs once.
    """

    def __call__(self, actions: Tensor) -> Tensor:
        """Return R of actions (..., B, M), of the same shape, without gradient. Only the kept clips are classified."""

    def of_all_arms(self, actions: Tensor) -> Tensor:
        """Return R of each arm of each section while the other sections keep their actions, without gradient.

        All candidates are classified. Shape (B, M, A), from actions (B, M). Where the reward of a section does not
        depend on the other sections, as in Eq. 6, the actions do not matter.
        """

    def log_likelihood(self, weights: Tensor) -> Tensor:
        """Return log H of the labels, (B,), under the consensus of all candidates with weights (B, M, N) (Eq. 4).

        The weights of a section sum to 1. All candidates are classified. The gradient reaches the weights, not the
        classifier.
        """


class Estimate(NamedTuple):
    """What an estimator returns."""

    loss: Tensor  # scalar whose gradient is minus the estimated gradient of the expected reward
    action: Tensor  # A, the arm drawn in each section, (B, M)
    reward: Tensor  # R(A), (B, M)
    baseline: Tensor  # what was subtracted from R(A), (B, M)
    further: tuple[Callable[[Tensor], Tensor], ...] = ()  # further updates on this batch: log P as it is then -> loss


class Estimator(Protocol):
    """Estimates the gradient of the expected reward (Eq. 7): a function or an object, one file each.

    An estimator that is a `torch.nn.Module` keeps its state between batches in buffers, which checkpoints store.

    Attributes:
        num_draws: K, optional: how many uniform numbers it needs for each section; 0: as many as there are arms.
            The default is 1.
        num_updates: optional: how many optimiser steps it makes on each batch. The default is 1.
        ignores_reward: optional, True if it only reports the reward; a price of kept clips is then refused.
    """

    def __call__(self, log_policy: Tensor, *, uniforms: Tensor, reward: RewardFunction) -> Estimate:
        """Return a loss with the estimated gradient.

        Args:
            log_policy: log P of each section, (B, M, A), with gradient.
            uniforms: numbers in [0, 1) that decide the actions, float64, (B, M), or (K, B, M) for K above 1.
            reward: R of an action (Eq. 6).
        """


def num_draws(estimator: Callable[..., Estimate], num_arms: int) -> int:
    """Return how many numbers in [0, 1) an estimator needs for each section."""
    return int(getattr(estimator, "num_draws", 1)) or num_arms


def num_updates(estimator: Callable[..., Estimate]) -> int:
    """Return how many optimiser steps an estimator makes on each batch."""
    return int(getattr(estimator, "num_updates", 1))


def check_estimator(estimator: Callable[..., Estimate], *, key: str) -> None:
    """Check that a callable can be called as an `Estimator`; ``key``, in the message, says where it was configured.

    Raises:
        UsageError: shows the expected parameters and those that it has.
    """
    expected = "expected a callable with the parameters (log_policy, *, uniforms, reward)"
    if not callable(estimator):
        raise UsageError(f"{key}: {expected}, got {type(estimator).__name__}")
    try:
        signature = inspect.signature(estimator.forward if isinstance(estimator, nn.Module) else estimator)
    except ValueError:  # some built-in callables have none
        return
    try:
        signature.bind(None, uniforms=None, reward=None)
    except TypeError as error:
        names = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
        raise UsageError(f"{key}: {expected}, got {inspect.Signature(names)}: {error}") from error


def sample_actions(log_policy: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one arm per section, (..., B, M), from log P (B, M, A) by inverting its cumulative distribution.

    >>> import torch
    >>> sample_actions(torch.tensor([[[0.2, 0.5, 0.3]]]).log(), torch.tensor([[0.6]]))
    tensor([[1]])
    """
    edges = log_policy.detach().double().exp().cumsum(-1)  # (B, M, A)
    edges = edges / edges[..., -1:]
    return (uniforms.to(edges)[..., None] >= edges).sum(-1).clamp(max=edges.shape[-1] - 1)


def log_probability(log_policy: Tensor, action: Tensor) -> Tensor:
    """log pi(A) = sum_n a_n log p_n for actions (..., B, M) given as indices, of the same shape."""
    log_policy = log_policy.expand(*action.shape, log_policy.shape[-1])
    return log_policy.gather(-1, action[..., None]).squeeze(-1)
