"""A reward without a penalty: the probability of the true class (not the paper's)."""

from dataclasses import dataclass

from torch import Tensor

from dsn_lightning.rewards.reward import check_price, with_nothing


def label_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the probability of the labels under each clip's logits, (B, M, N), from (B, M, N, J) and (B, J).

    With several labels, the mean of theirs.

    >>> import torch
    >>> logits = torch.tensor([[[[0.75, 0.25], [0.25, 0.75]]]]).log()
    >>> label_probability(logits, torch.tensor([[1.0, 0.0]]))
    tensor([[[0.7500, 0.2500]]])
    """
    return (logits.softmax(-1) * targets[:, None, None]).sum(-1)


@dataclass(frozen=True)
class TrueClass:
    """The probability of the true class, correct or not, minus the price of a kept clip. See `Reward`.

    Unlike Eq. 6 it tells two wrong clips apart, and does not jump where the classifier's answer changes.

    Attributes:
        price: of a kept clip, >= 0.
    """

    price: float = 0.0
    compares_clips = False

    def __post_init__(self) -> None:
        check_price(self.price)

    def __call__(self, logits: Tensor, targets: Tensor, actions: Tensor) -> Tensor:
        """Return R of each arm, (B, M, N + 1)."""
        return with_nothing(label_probability(logits, targets), price=self.price)
