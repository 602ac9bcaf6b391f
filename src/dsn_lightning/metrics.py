"""Video-level metrics as pure functions of scores and labels, and as a `torchmetrics.Metric` around them.

All take scores (B, J), larger is better, and targets (B, J), positive where the video has the label; all return
fractions in [0, 1], or None if no video has a label. A video with several labels is classified correctly if the
predicted class is one of them. A video without a label (background) is a negative of every class in mean average
precision; accuracies ignore it, because no class is correct.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_average_precision
from torchmetrics.utilities import dim_zero_cat


def top_k_accuracy(scores: Tensor, targets: Tensor, *, k: int) -> float | None:
    """Return the share of labelled videos with a true class among the k highest scores; None if k >= J.

    >>> scores = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    >>> targets = torch.tensor([[1, 0, 0], [0, 1, 0]])
    >>> top_k_accuracy(scores, targets, k=1), top_k_accuracy(scores, targets, k=2)
    (0.5, 1.0)
    """
    labelled = (targets > 0).any(1)
    if k >= scores.shape[1] or not labelled.any():
        return None
    return float(top_k_hits(scores, targets, k)[labelled].double().mean())


def mean_class_accuracy(scores: Tensor, targets: Tensor) -> float | None:
    """Return the top-1 accuracy of each class that occurs, averaged over classes."""
    positive = (targets > 0).double()
    if not positive.any():
        return None
    hits = top_k_hits(scores, targets, 1).double() @ positive  # (J,)
    count = positive.sum(0)
    return float((hits[count > 0] / count[count > 0]).mean())


def mean_average_precision(scores: Tensor, targets: Tensor) -> float | None:
    """Return the average precision of each class that occurs, averaged over classes (mAP of THUMOS14, ActivityNet)."""
    positive = targets > 0
    present = positive.any(0).nonzero().flatten().tolist()
    if not present:
        return None
    scores = scores.clamp(max=1)  # a mean above 1 by rounding would be interpreted as logits
    precision = [binary_average_precision(scores[:, j], positive[:, j].long()) for j in present]
    return float(torch.stack([p.double() for p in precision]).mean())


def top_k_hits(scores: Tensor, targets: Tensor, k: int) -> Tensor:
    """Return whether a true class is among the k highest scores, (B,)."""
    return (targets.gather(1, scores.topk(k, dim=1).indices) > 0).any(1)


def video_metrics(scores: Tensor, targets: Tensor) -> dict[str, float | None]:
    """Return ``top1, top5, mean_class, map`` of probabilities in [0, 1], (B, J)."""
    return {
        "top1": top_k_accuracy(scores, targets, k=1),
        "top5": top_k_accuracy(scores, targets, k=5),
        "mean_class": mean_class_accuracy(scores, targets),
        "map": mean_average_precision(scores, targets),
    }


class EpochMeans(Metric):
    """Weighted means of named values, over all processes."""

    full_state_update = False
    sums: Tensor
    weights: Tensor

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = list(names)
        self.add_state("sums", torch.zeros(len(self.names)), dist_reduce_fx="sum")
        self.add_state("weights", torch.zeros(len(self.names)), dist_reduce_fx="sum")

    def update(self, name: str, value: Tensor | float, weight: Tensor | float = 1.0) -> None:
        """Add a value."""
        index = self.names.index(name)
        self.sums[index] += value * weight
        self.weights[index] += weight

    def compute(self) -> dict[str, Tensor]:
        """Return the mean of each name that was updated since the last reset."""
        totals = zip(self.names, self.sums, self.weights, strict=True)
        return {name: total / weight for name, total, weight in totals if weight > 0}


def states_of_all(metric: Metric) -> list[dict[str, Tensor]]:
    """Return a metric's state in each process, for a checkpoint; every process must call this."""
    state = {name: torch.as_tensor(value).detach().cpu().clone() for name, value in metric.metric_state.items()}
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [state]
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, state)
    return states


def take_state(metric: Metric, states: Sequence[dict[str, Tensor]], *, rank: int) -> None:
    """Restore a metric's state in this process from the result of `states_of_all`."""
    for name, value in states[rank].items():
        setattr(metric, name, value.clone().to(metric.device))
    metric._update_count = 1  # otherwise `compute` warns that it precedes `update`


class VideoMetrics(Metric):
    """`video_metrics` over all batches, without the figures that do not apply."""

    full_state_update = False
    scores: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, targets: Tensor) -> None:
        """Add a batch of probabilities and targets, both (B, J)."""
        self.scores.append(scores)
        self.targets.append(targets)

    def compute(self) -> dict[str, float]:
        """Return the metrics of all batches since the last reset."""
        figures = video_metrics(dim_zero_cat(self.scores), dim_zero_cat(self.targets))
        return {name: value for name, value in figures.items() if value is not None}
