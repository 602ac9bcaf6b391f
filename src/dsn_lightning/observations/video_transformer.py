"""An observation network that compares all clips of a video with a transformer encoder (not the paper's)."""

import math

import torch
from torch import Tensor, nn

from dsn_lightning.backbones.clip_network import ClipNetwork, check_clip_network
from dsn_lightning.observations.attention_set import attention_layer
from dsn_lightning.observations.observation_network import ObservationNetwork
from dsn_lightning.observations.policy_layer import PolicyLayer

_OCTAVES = 6
"""Frequencies of the position encoding: half a period of the lowest spans the video, 16 periods of the highest."""


class TransformerObservation(ObservationNetwork):
    """Scores each clip from its features, its time, and those of all clips of the video; any M and N.

    The paper leaves temporal models across sections to future work (Sec. VI). Positions are times relative to the
    video's length, so that one network serves all M and N.

    Args:
        trunk: clip network without a classification layer, (B, C, T, H, W) -> (B, D).
        width: W, number of a clip's features in the encoder, a multiple of ``num_heads``.
        num_heads: heads of the attention.
        num_layers: layers of the encoder.
        may_skip: True adds an arm, the last, for skipping a section, from the mean of its clips' features.

    Raises:
        UsageError: ``width`` is not a multiple of ``num_heads``.
    """

    head = "scorer"
    clips_per_section = None

    def __init__(
        self, trunk: ClipNetwork, *, width: int = 128, num_heads: int = 4, num_layers: int = 2, may_skip: bool = False
    ) -> None:
        super().__init__()
        check_clip_network(trunk, key="trunk")
        self.trunk = trunk
        self.may_skip = may_skip
        self.scorer = TransformerScorer(
            trunk.num_features, width=width, num_heads=num_heads, num_layers=num_layers, may_skip=may_skip
        )

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips of whole videos (..., M, N, C, T, H, W) to logits (..., M, N), or (..., M, N + 1)."""
        *leading, c, t, h, w = clips.shape
        logits: Tensor = self.scorer(self.trunk(clips.reshape(-1, c, t, h, w)).unflatten(0, leading))
        return logits


class TransformerScorer(nn.Module):
    """The head of `TransformerObservation`: features of clips (..., M, N, D) -> policy logits; see there."""

    def __init__(self, num_features: int, *, width: int, num_heads: int, num_layers: int, may_skip: bool) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.LayerNorm(num_features), nn.Linear(num_features, width))
        self.embed_time = nn.Linear(2 * _OCTAVES, width, bias=False)
        self.layers = nn.Sequential(*(attention_layer(width, num_heads) for _ in range(num_layers)))
        self.norm = nn.LayerNorm(width, bias=False)
        self.policy = PolicyLayer(width, may_skip=may_skip)

    def forward(self, features: Tensor) -> Tensor:
        """Map the features of the clips (..., M, N, D) to policy logits (..., M, N), or (..., M, N + 1)."""
        embedded = self.embed(features)  # (..., M, N, W)
        sequence = embedded.flatten(-3, -2)  # (..., M * N, W)
        times = encoded_times(sequence.shape[-2], like=features)
        sequence = (sequence + self.embed_time(times)).reshape(-1, *sequence.shape[-2:])
        clips = self.norm(self.layers(sequence)).reshape(embedded.shape)
        logits: Tensor = self.policy(clips, clips.mean(-2))
        return logits


def encoded_times(count: int, *, like: Tensor) -> Tensor:
    """Return sin and cos of pi 2^k t for the times t = (i + 0.5) / count of a video's clips, (count, 2 * octaves).

    The times are relative to the video's length: clip n of section m has i = m N + n.

    >>> encoded_times(2, like=torch.zeros(1))[:, 0]
    tensor([0.7071, 0.7071])
    """
    times = (torch.arange(count, device=like.device, dtype=torch.float32) + 0.5) / count
    angles = times[:, None] * (math.pi * 2 ** torch.arange(_OCTAVES, device=like.device))
    return torch.cat([angles.sin(), angles.cos()], -1).to(like.dtype)
