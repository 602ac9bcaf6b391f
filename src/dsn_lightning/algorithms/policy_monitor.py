"""Statistics of the policy during training, and the detection of its collapse."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from dsn_lightning.estimators.estimate import Estimate


class PolicyMonitor(Metric):
    """Statistics of the policy over an epoch.

    `compute` returns ``entropy`` (nats), ``reward``, ``right`` (share of sampled arms with R > 0: with Eq. 6, of clips
    that are classified right), ``baseline``, ``advantage_std``, ``agreement`` (share of sections with A = B, where
    Eq. 11 has no gradient) and ``position_share``, the share of sections where each arm is the most probable one, (A,):
    each position of a clip and, if the policy has this arm, skipping.
    """

    full_state_update = False
    total: Tensor
    sums: Tensor
    positions: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(7), dist_reduce_fx="sum")
        self.add_state("positions", torch.zeros(0), dist_reduce_fx="sum")

    def update(self, log_policy: Tensor, estimate: Estimate, num_videos: int | None = None) -> None:
        """Add one step: log P (B, M, A) and the estimate made from it; only the first ``num_videos`` videos count.

        A step with a value that is not finite is left out.
        """
        log_policy = log_policy[:num_videos]
        action, reward, baseline = (part[:num_videos] for part in (estimate.action, estimate.reward, estimate.baseline))
        greedy = log_policy.argmax(-1)
        advantage = reward - baseline
        entropy = -(log_policy.exp() * log_policy).sum(-1)
        same = action == greedy
        per_section = (entropy, reward, reward > 0, baseline, advantage, advantage**2, same)
        positions = torch.arange(log_policy.shape[-1], device=greedy.device)
        counts = (greedy.flatten()[:, None] == positions).sum(0)  # bincount would wait for the device
        if not len(self.positions):
            self.positions = torch.zeros_like(counts, dtype=torch.float32)
        sums = torch.stack([x.float().sum() for x in per_section])
        finite = sums.isfinite().all()
        self.positions = self.positions + counts * finite
        self.sums = self.sums + torch.where(finite, sums, 0.0)
        self.total = self.total + greedy.numel() * finite

    def compute(self) -> dict[str, Tensor]:
        """Return the statistics that the class describes."""
        *means, mean, square, agreement = self.sums / self.total
        return {
            **dict(zip(("entropy", "reward", "right", "baseline"), means, strict=True)),
            "advantage_std": (square - mean**2).clamp(min=0).sqrt(),
            "agreement": agreement,
            "position_share": self.positions / self.total,
        }


def is_uniform(statistics: dict[str, Tensor]) -> bool:
    """Tell whether the entropy of the policy is within 1% of that of equally probable clips.

    >>> is_uniform({"entropy": torch.tensor(1.3861), "position_share": torch.tensor([0.4, 0.3, 0.2, 0.1])})
    True
    """
    share = statistics["position_share"]
    return bool(len(share) > 1 and statistics["entropy"] > 0.99 * math.log(len(share)))


def has_collapsed(statistics: dict[str, Tensor]) -> bool:
    """Tell whether the policy prefers one position in practically every section, almost with certainty.

    Then A = B, every advantage in Eq. 11 is 0, and the sampler no longer learns.

    >>> has_collapsed({"entropy": torch.tensor(0.001), "position_share": torch.tensor([0.0, 1.0, 0.0])})
    True
    """
    share = statistics["position_share"]
    return bool(len(share) > 1 and share.max() > 0.98 and statistics["entropy"] < 0.05 * math.log(len(share)))
