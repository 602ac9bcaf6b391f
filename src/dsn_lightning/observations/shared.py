"""An observation network that scores each clip by itself, with one layer for all positions."""

from torch import Tensor, nn

from dsn_lightning.backbones.clip_network import ClipNetwork, check_clip_network
from dsn_lightning.observations.observation_network import ObservationNetwork


class SharedObservation(ObservationNetwork):
    """Scores each clip by itself with one layer that all positions share; takes any N.

    A restriction of Eq. 3, whose layer has separate weights for each position. What this layer learns about a clip
    holds at every position, so it needs fewer examples and cannot collapse to one position.

    Args:
        trunk: clip network without a classification layer, (B, C, T, H, W) -> (B, D).
        may_skip: True adds an arm, the last, for skipping the section. Its logit is always 0: the layer's
            bias, which all clips share and which starts at 0, sets how good a clip must be to be kept.
    """

    head = "fc"
    clips_per_section = None

    def __init__(self, trunk: ClipNetwork, *, may_skip: bool = False) -> None:
        super().__init__()
        check_clip_network(trunk, key="trunk")
        self.trunk = trunk
        self.may_skip = may_skip
        self.fc = nn.Linear(trunk.num_features, 1)
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised section clips (..., N, C, T, H, W) to policy logits (..., N), or (..., N + 1)."""
        *leading, c, t, h, w = clips.shape
        logits: Tensor = self.fc(self.trunk(clips.reshape(-1, c, t, h, w))).reshape(leading)
        return nn.functional.pad(logits, (0, 1)) if self.may_skip else logits
