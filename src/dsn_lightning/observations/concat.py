"""Observation networks: a section's N clips in, N logits of the policy out."""

from torch import Tensor, nn

from dsn_lightning.errors import UsageError


class ConcatObservation(nn.Module):
    """The paper's head: the N clips' features are concatenated and one layer gives N logits (Eq. 3).

    The policy starts uniform, since the last layer starts at zero.

    Args:
        trunk: clip network (B, C, T, H, W) -> (B, D) with an attribute ``num_features`` = D.
        clips_per_section: N; the head is made for this number and refuses any other.
    """

    def __init__(self, trunk: nn.Module, *, clips_per_section: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.clips_per_section = clips_per_section
        num_features = trunk.num_features
        assert isinstance(num_features, int)
        self.fc = nn.Linear(clips_per_section * num_features, clips_per_section)
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised section clips (..., N, C, T, H, W) to policy logits (..., N).

        Raises:
            UsageError: N is not the number that the head was made for.
        """
        *leading, n, c, t, h, w = clips.shape
        if n != self.clips_per_section:
            raise UsageError(
                f"N={n}: this observation network was made for N={self.clips_per_section} clips a section; "
                f"use N={self.clips_per_section} or train one with N={n}"
            )
        features = self.trunk(clips.reshape(-1, c, t, h, w))  # (... * N, D)
        return self.fc(features.reshape(*leading, -1))
