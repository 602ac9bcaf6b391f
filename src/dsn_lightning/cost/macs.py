"""What a network and a video cost: multiply-adds, counted on meta tensors, without weights or memory.

Counted are convolutions, matrix products and attention (with all that is made of them: linear layers, LSTMs), as by
torch's `FlopCounterMode`. Left out are norms, activations, pooling, additions, and reading the frames, as in
the figures that papers and torchvision give; they take time all the same, see `speed`.
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(network: nn.Module, *input_shape: int) -> int:
    """Return the multiply-adds of one forward pass in testing, what the paper calls FLOPs.

    Args:
        network: any module of one tensor, on any device, meta included; it is left as it is.
        *input_shape: of that tensor, batch included.

    >>> count_macs(nn.Linear(3, 2), 1, 3)
    6
    """
    weightless: dict[int, object] = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad) for p in network.parameters()
    }
    weightless |= {id(b): torch.empty_like(b, device="meta") for b in network.buffers()}
    shadow = copy.deepcopy(network, weightless).eval()  # what is in the memo is taken from there, not copied
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(torch.empty(*input_shape, device="meta"))
    return counter.get_total_flops() // 2


def count_parameters(network: nn.Module) -> int:
    """Return how many weights there are, frozen ones included; those that are shared count once.

    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in network.parameters())


def macs_per_clip(network: nn.Module, clip: tuple[int, ...], *, clips_per_section: int | None = None) -> float:
    """Return the multiply-adds that one clip costs.

    Args:
        network: a classifier of clips (B, C, T, H, W), or an observation network of sections (B, N, C, T, H, W).
        clip: (C, T, H, W).
        clips_per_section: N of an observation network, whose head is shared out among the N clips; None for a
            classifier.
    """
    if clips_per_section is None:
        return count_macs(network, 1, *clip)
    return count_macs(network, 1, clips_per_section, *clip) / clips_per_section


@dataclass(frozen=True)
class VideoCost:
    """Multiply-adds of one video, in 10^9, by network.

    >>> VideoCost.of(clips=6, classifier=20.35e9, candidates=18, observation=1.93e9)
    VideoCost(classifier=122.1, observation=34.74)
    """

    classifier: float
    observation: float

    @classmethod
    def of(cls, *, clips: int, classifier: float, candidates: int = 0, observation: float = 0.0) -> "VideoCost":
        """Return ``clips * classifier + candidates * observation``.

        Args:
            clips: clips that are classified; M where one of each section is kept.
            classifier: multiply-adds of a clip.
            candidates: clips that a sampler looks at, M * N; 0 without one.
            observation: multiply-adds of a clip for the sampler.
        """
        return cls(clips * classifier / 1e9, candidates * observation / 1e9)

    @property
    def total(self) -> float:
        """Both networks together."""
        return self.classifier + self.observation
