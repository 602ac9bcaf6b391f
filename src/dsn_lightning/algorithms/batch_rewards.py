"""The rewards of one batch, for an estimator; only the clips that they need are classified."""

from collections.abc import Callable

import torch
from torch import Tensor

from dsn_lightning.consensus import Consensus
from dsn_lightning.rewards.reward import Reward, of_actions


class BatchRewards:
    """The `RewardFunction` of one batch.

    Args:
        logits: maps a bool tensor (B, M, N), which marks some of the candidates, to the classifier's output for them,
            (B, M, N, J), without gradient; any finite numbers for the others.
        reward: what an arm is worth.
        targets: labels, (B, J).
        num_arms: A, which is N, or N + 1 if the sampler may skip a section.
        num_clips: N.
        consensus: of Eq. 4.
    """

    def __init__(
        self,
        logits: Callable[[Tensor], Tensor],
        reward: Reward,
        targets: Tensor,
        *,
        num_arms: int,
        num_clips: int,
        consensus: Consensus,
    ) -> None:
        self.logits = logits
        self.reward = reward
        self.targets = targets
        self.num_arms = num_arms
        self.num_clips = num_clips
        self.consensus = consensus
        self._of_all: Tensor | None = None  # the logits of all candidates, once they have been asked for

    @torch.no_grad()
    def __call__(self, actions: Tensor) -> Tensor:
        """Return R of actions (..., B, M), of the same shape, without gradient."""
        if self.reward.compares_clips or self._of_all is not None:
            logits = self._all_logits(actions)
        else:
            logits = self.logits(self._kept(actions))
        return of_actions(self.reward(logits, self.targets, actions), actions)

    @torch.no_grad()
    def of_all_arms(self, actions: Tensor) -> Tensor:
        """Return R of each arm, (B, M, A), while the other sections keep their actions (B, M), without gradient."""
        return self.reward(self._all_logits(actions), self.targets, actions)[..., : self.num_arms]

    def log_likelihood(self, weights: Tensor) -> Tensor:
        """Return log H of the labels, (B,), under the consensus of all candidates with weights (B, M, N)."""
        with torch.autocast(weights.device.type, enabled=False):  # 1 / H overflows in half precision
            logits = self._all_logits(weights[..., 0]).to(weights)  # (B, M, N, J)
            scores = logits if self.consensus == "logits" else logits.softmax(-1)
            mean = (weights[..., None] * scores).sum((1, 2)) / weights.shape[1]  # (B, J); one clip a section is kept
            log_h = mean.log_softmax(-1) if self.consensus == "logits" else (mean + _SMALLEST).log()
            return (self.targets * log_h).sum(-1)

    def _all_logits(self, like: Tensor) -> Tensor:
        if self._of_all is None:
            with torch.no_grad():
                shape = (*like.shape[-2:], self.num_clips)
                self._of_all = self.logits(torch.ones(shape, dtype=torch.bool, device=like.device))
        return self._of_all

    def _kept(self, actions: Tensor) -> Tensor:
        """Return which candidates at least one of the actions (..., B, M) keeps, bool (B, M, N)."""
        kept = torch.zeros((*actions.shape[-2:], self.num_arms), dtype=torch.bool, device=actions.device)
        kept.scatter_(2, actions.reshape(-1, *kept.shape[:2]).movedim(0, -1), True)
        if self.num_arms > self.num_clips:
            kept[0, 0, 0] = True  # networks refuse a batch without a clip
        return kept[..., : self.num_clips]


_SMALLEST = 1e-6
"""Added to probabilities before the logarithm, which 0 does not have."""
