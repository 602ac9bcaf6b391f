"""The cost of networks and videos in multiply-adds, counted on meta tensors, without memory for weights.

Convolutions, matrix products and attention count, and so do the layers made of them, such as linear layers and LSTMs
(torch's `FlopCounterMode`). Norms, activations, pooling, additions and reading the frames do not, as in the figures of
papers and of torchvision. They take time all the same; see `dsn_lightning.cost.speed`.
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(network: nn.Module, *input_shape: int) -> int:
    """Return the multiply-adds of one forward pass in eval mode, which the paper calls FLOPs.

    The network takes one tensor of ``input_shape``, batch included. It may be on any device and is not changed. Where
    PyTorch does not see its layers, it has ``macs``, those of one item.

    >>> count_macs(nn.Linear(3, 2), 1, 3)
    6
    """
    if (counted := getattr(network, "macs", None)) is not None:
        return int(counted) * input_shape[0]
    weightless: dict[int, object] = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad) for p in network.parameters()
    }
    weightless |= {id(b): torch.empty_like(b, device="meta") for b in network.buffers()}
    shadow = copy.deepcopy(network, weightless).eval()  # tensors in the memo replace those of the network
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(torch.empty(*input_shape, device="meta"))
    return counter.get_total_flops() // 2


def count_parameters(network: nn.Module) -> int:
    """Return the number of weights, frozen ones included; shared weights count once.

    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in network.parameters())


def macs_per_clip(
    network: nn.Module, clip: tuple[int, ...], *, num_sections: int = 1, clips_per_section: int | None = None
) -> float:
    """Return the multiply-adds of one clip (C, T, H, W).

    Those of a classifier, or a share of 1 / (M * N) of those of an observation network for a video (M, N, C, ...). The
    share depends on M where the network's attention spans all sections.
    """
    if clips_per_section is None:
        return count_macs(network, 1, *clip)
    return count_macs(network, num_sections, clips_per_section, *clip) / (num_sections * clips_per_section)


@dataclass(frozen=True)
class VideoCost:
    """Multiply-adds of one video in each network, in 10^9.

    >>> VideoCost.of(clips=6, classifier=20.35e9, candidates=18, observation=1.93e9)
    VideoCost(classifier=122.1, observation=34.74)
    """

    classifier: float
    observation: float

    @classmethod
    def of(cls, *, clips: float, classifier: float, candidates: int = 0, observation: float = 0.0) -> "VideoCost":
        """Return ``clips * classifier + candidates * observation`` from the multiply-adds of a clip in each network.

        M clips are classified where one per section is kept, fewer on average if the sampler may skip sections.
        Candidates are the M * N clips that a sampler looks at.
        """
        return cls(clips * classifier / 1e9, candidates * observation / 1e9)

    @property
    def total(self) -> float:
        """Sum over both networks."""
        return self.classifier + self.observation
