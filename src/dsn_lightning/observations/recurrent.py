"""An observation network whose LSTM relates the sections of a video to each other (not the paper's)."""

import torch
from torch import Tensor, nn

from dsn_lightning.backbones.clip_network import ClipNetwork, check_clip_network
from dsn_lightning.errors import UsageError
from dsn_lightning.observations.observation_network import ObservationNetwork
from dsn_lightning.observations.policy_layer import PolicyLayer


class RecurrentObservation(ObservationNetwork):
    """Scores each clip from its features and the state of its section in an LSTM over all sections; any M and N.

    The paper leaves an LSTM across sections to future work (Sec. VI). This one reads the mean of the features of each
    section's clips, in both directions.

    Args:
        trunk: clip network without a classification layer, (B, C, T, H, W) -> (B, D).
        width: W, number of features of a clip and of a section's state; even, as each direction has half of the state.
        may_skip: True adds an arm, the last, for skipping a section, from the section's state.

    Raises:
        UsageError: ``width`` is odd.
    """

    head = "scorer"
    clips_per_section = None

    def __init__(self, trunk: ClipNetwork, *, width: int = 128, may_skip: bool = False) -> None:
        super().__init__()
        check_clip_network(trunk, key="trunk")
        if width % 2:
            raise UsageError(f"width={width}: must be even")
        self.trunk = trunk
        self.may_skip = may_skip
        self.scorer = RecurrentScorer(trunk.num_features, width=width, may_skip=may_skip)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips of whole videos (..., M, N, C, T, H, W) to logits (..., M, N), or (..., M, N + 1)."""
        *leading, c, t, h, w = clips.shape
        logits: Tensor = self.scorer(self.trunk(clips.reshape(-1, c, t, h, w)).unflatten(0, leading))
        return logits


class RecurrentScorer(nn.Module):
    """The head of `RecurrentObservation`: features of clips (..., M, N, D) -> policy logits; see there."""

    def __init__(self, num_features: int, *, width: int, may_skip: bool) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.LayerNorm(num_features), nn.Linear(num_features, width), nn.ReLU())
        self.lstm = nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)
        self.compare = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU())
        self.policy = PolicyLayer(width, may_skip=may_skip)

    def forward(self, features: Tensor) -> Tensor:
        """Map the features of the clips (..., M, N, D) to policy logits (..., M, N), or (..., M, N + 1).

        Raises:
            UsageError: in an export.
        """
        if torch.compiler.is_exporting():
            raise UsageError(
                "the observation network cannot be exported: PyTorch unrolls its LSTM for a fixed number of sections; "
                "train one with attention instead (SetObservation or TransformerObservation)"
            )
        clips = self.embed(features)  # (..., M, N, W)
        sections = clips.mean(-2)  # (..., M, W)
        states = self.lstm(sections.reshape(-1, *sections.shape[-2:]))[0].reshape(sections.shape)
        compared = self.compare(torch.cat([clips, states[..., None, :].expand_as(clips)], -1))
        logits: Tensor = self.policy(compared, states)
        return logits
