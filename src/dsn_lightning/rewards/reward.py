"""The contract of a reward: the value to the sampler of keeping a clip, or no clip, of a section.

Shapes: B videos, M sections, N clips per section, J classes. A sampler has N arms, one for each clip, or N + 1; the
last one then skips the section.
"""

import inspect
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from dsn_lightning.errors import UsageError

_PARAMETERS = ("logits", "targets", "actions")


class Reward(Protocol):
    """What the arms of a section are worth.

    Attributes:
        compares_clips: whether the reward of a clip depends on other clips than those that the actions keep. Then all
            N candidates of a section are classified, not only the kept ones.
    """

    compares_clips: bool

    def __call__(self, logits: Tensor, targets: Tensor, actions: Tensor) -> Tensor:
        """Return R of each arm of each section, while the other sections keep their actions.

        The values of clips that were not classified are not used.

        Args:
            logits: the classifier's output for the candidates, (B, M, N, J). For those that were not classified, any
                finite numbers.
            targets: one-hot or normalised multi-hot labels, (B, J).
            actions: the arms of all sections, (..., B, M), in [0, N]; N skips the section.

        Returns:
            (..., B, M, N + 1), the last value for skipping; leading dimensions may be left out if the values do not
            depend on the actions.
        """


def check_reward(reward: object, *, key: str) -> Reward:
    """Return the object if it fulfils the contract of `Reward`; ``key``, in the message, says where it was configured.

    Raises:
        UsageError: says what is missing or wrong.
    """
    expected = f"expected a callable with the parameters ({', '.join(_PARAMETERS)}) and the attribute compares_clips"
    if not callable(reward):
        raise UsageError(f"{key}: {expected}, got {type(reward).__name__}")
    try:
        inspect.signature(reward.forward if isinstance(reward, nn.Module) else reward).bind(*_PARAMETERS)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{key}: {expected}, got {type(reward).__name__}: {error}") from error
    if not isinstance(getattr(reward, "compares_clips", None), bool):
        raise UsageError(f"{key}: {expected}; compares_clips of {type(reward).__name__} is missing or not a bool")
    return cast(Reward, reward)


def check_price(price: float) -> None:
    """Check what a kept clip costs.

    Raises:
        UsageError: it is negative or not finite.
    """
    check_number(price, "price")


def check_number(value: float, name: str) -> None:
    """Check a setting of a reward.

    Raises:
        UsageError: it is no number, negative or not finite.
    """
    if type(value) not in (int, float) or not 0 <= value < float("inf"):
        raise UsageError(f"reward.{name}={value}: must be at least 0 and finite")


def with_nothing(values: Tensor, *, price: float) -> Tensor:
    """Return the rewards of all arms, (..., N + 1), from those of the clips, (..., N).

    ``price`` is subtracted from the value of a clip. Skipping is worth 0.

    >>> with_nothing(torch.tensor([0.75, -0.25]), price=0.25)
    tensor([ 0.5000, -0.5000,  0.0000])
    """
    return torch.cat([values - price, values.new_zeros(()).expand(*values.shape[:-1], 1)], -1)


def of_actions(values: Tensor, actions: Tensor) -> Tensor:
    """Return the values that actions (..., B, M) have among those of all arms, (..., B, M, A) or (B, M, A)."""
    return values.expand(*actions.shape, values.shape[-1]).gather(-1, actions[..., None]).squeeze(-1)
