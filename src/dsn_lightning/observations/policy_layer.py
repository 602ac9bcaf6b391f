"""The last layer of heads with several layers: it starts at zero, so the policy starts uniform."""

import torch
from torch import Tensor, nn


class PolicyLayer(nn.Module):
    """Maps features of the clips to their logits and, with ``may_skip``, features of the section to one more.

    Args:
        width: W, of both kinds of features.
        may_skip: True adds the logit, the last, of an arm that skips the section.
    """

    def __init__(self, width: int, *, may_skip: bool) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)  # a bias would be the same for all clips of a section
        self.skip = nn.Linear(width, 1) if may_skip else None
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, clips: Tensor, sections: Tensor) -> Tensor:
        """Map features of clips (..., N, W) and of their sections (..., W) to logits (..., N), or (..., N + 1)."""
        logits: Tensor = self.score(clips).squeeze(-1)
        return logits if self.skip is None else torch.cat([logits, self.skip(sections)], -1)
