"""Eq. 4: the class scores of a video from those of its kept clips."""

import math
from typing import Literal

from torch import Tensor

Consensus = Literal["probabilities", "logits"]


def consensus_log_probabilities(
    logits: Tensor, *, consensus: Consensus = "probabilities", kept: Tensor | None = None
) -> Tensor:
    """log H: log-probabilities of a video's classes from the logits of its kept clips (Eq. 4).

    Args:
        logits: classifier output for each kept clip, (..., M, J).
        consensus: ``probabilities`` averages the clips' probabilities; ``logits`` averages their logits.
        kept: which of the M clips count, bool (..., M), at least one in each video; None: all. The logits of the others
            may be any finite numbers.

    >>> import torch
    >>> clips = torch.tensor([[[0.8, 0.2], [0.4, 0.6]]]).log()
    >>> consensus_log_probabilities(clips).exp()
    tensor([[0.6000, 0.4000]])
    """
    if kept is not None:
        left_out, count = ~kept[..., None], kept.sum(-1, keepdim=True)  # (..., M, 1), (..., 1)
        if consensus == "logits":
            return (logits.masked_fill(left_out, 0.0).sum(-2) / count).log_softmax(-1)
        return logits.log_softmax(-1).masked_fill(left_out, -math.inf).logsumexp(-2) - count.log()
    if consensus == "logits":
        return logits.mean(-2).log_softmax(-1)
    return logits.log_softmax(-1).logsumexp(-2) - math.log(logits.shape[-2])
