"""An observation network that scores each clip by itself, with one layer for all positions."""

from torch import Tensor, nn


class SharedObservation(nn.Module):
    """Scores each clip by itself with one layer that all positions share; takes any N.

    A restriction of Eq. 3, whose layer sees the N clips side by side and has weights of its own for each position.
    What it learns about a clip holds wherever the clip stands, so it needs fewer examples and cannot collapse to one
    position.

    Args:
        trunk: clip network (B, C, T, H, W) -> (B, D) with an attribute ``num_features`` = D.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        num_features = trunk.num_features
        assert isinstance(num_features, int)
        self.fc = nn.Linear(num_features, 1)
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised section clips (..., N, C, T, H, W) to policy logits (..., N)."""
        *leading, c, t, h, w = clips.shape
        return self.fc(self.trunk(clips.reshape(-1, c, t, h, w))).reshape(leading)
