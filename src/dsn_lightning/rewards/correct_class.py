"""The paper's reward (Eq. 6)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dsn_lightning.rewards.reward import check_number, check_price, with_nothing


def clip_reward(logits: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """R(A): the probability of the true class if the clip's top-1 is right, else -gamma (Eq. 6).

    With several labels, a clip is right if its top-1 is one of them; the reward is the probability of that class.

    Args:
        logits: classifier output for single clips, (..., J).
        targets: one-hot or multi-hot labels of their videos, (..., J).
        gamma: penalty for a wrong prediction, >= 0.

    >>> scores = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).log()
    >>> clip_reward(scores, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), gamma=0.5)
    tensor([ 0.7500, -0.5000])
    """
    score, answer = logits.softmax(-1).max(-1)
    right = targets.gather(-1, answer[..., None]).squeeze(-1) > 0
    return torch.where(right, score, -gamma)


@dataclass(frozen=True)
class CorrectClass:
    """The paper's reward of a clip, `clip_reward` (Eq. 6), minus the price of a kept clip. See `Reward`.

    Attributes:
        gamma: penalty for a wrong prediction, >= 0.
        price: of a kept clip, >= 0; 0 in the paper.
    """

    gamma: float
    price: float = 0.0
    compares_clips = False

    def __post_init__(self) -> None:
        check_number(self.gamma, "gamma")
        check_price(self.price)

    def __call__(self, logits: Tensor, targets: Tensor, actions: Tensor) -> Tensor:
        """Return R of each arm, (B, M, N + 1)."""
        labels = targets[:, None, None].expand_as(logits)
        return with_nothing(clip_reward(logits, labels, gamma=self.gamma), price=self.price)
