"""The paper's observation network: the features of a section's N clips side by side, and one layer (Eq. 3)."""

from torch import Tensor, nn

from dsn_lightning.backbones.clip_network import ClipNetwork, check_clip_network
from dsn_lightning.errors import UsageError
from dsn_lightning.observations.observation_network import ObservationNetwork


class ConcatObservation(ObservationNetwork):
    """Concatenates the features of the N clips and maps them to the logits with one layer (Eq. 3).

    The layer starts at zero, so the policy starts uniform.

    Args:
        trunk: clip network without a classification layer, (B, C, T, H, W) -> (B, D).
        clips_per_section: N; the layer is made for this number and refuses any other.
        may_skip: True adds an output, the last, for skipping the section.
    """

    head = "fc"

    def __init__(self, trunk: ClipNetwork, *, clips_per_section: int, may_skip: bool = False) -> None:
        super().__init__()
        check_clip_network(trunk, key="trunk")
        self.trunk = trunk
        self.clips_per_section: int = clips_per_section
        self.may_skip = may_skip
        self.fc = nn.Linear(clips_per_section * trunk.num_features, clips_per_section + may_skip)
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised section clips (..., N, C, T, H, W) to policy logits (..., N), or (..., N + 1)."""
        *leading, n, c, t, h, w = clips.shape
        if n != self.clips_per_section:
            raise UsageError(
                f"N={n}: this observation network was made for N={self.clips_per_section} clips per section; "
                f"use N={self.clips_per_section} or train a network with N={n}"
            )
        features = self.trunk(clips.reshape(-1, c, t, h, w))  # (... * N, D)
        return self.fc(features.reshape(*leading, -1))
