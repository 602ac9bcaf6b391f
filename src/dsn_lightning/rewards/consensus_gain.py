"""A reward relative to the video: what a clip adds to the video's answer (not the paper's)."""

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from dsn_lightning.consensus import Consensus
from dsn_lightning.errors import UsageError
from dsn_lightning.rewards.reward import check_price, with_nothing
from dsn_lightning.rewards.section_gain import check_floor


@dataclass(frozen=True)
class ConsensusGain:
    """How much a clip raises the log-likelihood of the label under the consensus of all kept clips. See `Reward`.

    R of clip n in section m is log H(kept clips of the other sections and n) - log H(kept clips of the other sections),
    minus the price of a kept clip, in nats; H is Eq. 4's probability of the true class. It is the difference reward of
    Wolpert and Tumer (*Optimal Payoff Functions for Members of Collectives*, 2001) with skipping as the default action.
    If all other sections are skipped, H is that of equally probable classes.

    Attributes:
        price: of a kept clip, >= 0, in nats.
        floor: smallest probability H that counts, in (0, 1); smaller ones are raised to it, so that no single clip
            outweighs all others.
        consensus: of Eq. 4, that of the classifier.
    """

    price: float = 0.0
    floor: float = 0.01
    consensus: Consensus = "probabilities"
    compares_clips = False

    def __post_init__(self) -> None:
        check_price(self.price)
        check_floor(self.floor)
        if self.consensus not in get_args(Consensus):
            raise UsageError(f"reward.consensus={self.consensus}: must be one of {', '.join(get_args(Consensus))}")

    def __call__(self, logits: Tensor, targets: Tensor, actions: Tensor) -> Tensor:
        """Return R of each arm, (..., B, M, N + 1)."""
        scores = logits if self.consensus == "logits" else logits.softmax(-1)  # (B, M, N, J)
        kept = (actions < logits.shape[2])[..., None]  # (..., B, M, 1)
        index = actions.clamp(max=logits.shape[2] - 1)[..., None, None]
        own = scores.expand(*actions.shape, *scores.shape[2:]).gather(
            -2, index.expand(*actions.shape, 1, scores.shape[-1])
        )
        own = own.squeeze(-2) * kept  # (..., B, M, J)
        others, count = own.sum(-2, keepdim=True) - own, kept.sum(-2, keepdim=True) - kept.long()  # (..., B, M, J), 1
        without = torch.where(count > 0, others / count.clamp(min=1), self._of_nothing(scores))
        with_clip = (others[..., None, :] + scores) / (count[..., None] + 1)  # (..., B, M, N, J)
        gain = self._log_likelihood(with_clip, targets[:, None, None]) - self._log_likelihood(
            without, targets[:, None]
        ).unsqueeze(-1)
        return with_nothing(gain, price=self.price)

    def _of_nothing(self, scores: Tensor) -> Tensor:
        value = 0.0 if self.consensus == "logits" else 1 / scores.shape[-1]
        return torch.full((), value, device=scores.device)

    def _log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        probabilities = scores.softmax(-1) if self.consensus == "logits" else scores
        return (targets * probabilities.clamp(min=self.floor).log()).sum(-1)
