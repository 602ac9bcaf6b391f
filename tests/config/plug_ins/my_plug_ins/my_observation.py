"""An observation network: a layer for all clips on the features of a clip network."""

from torch import Tensor, nn


class LinearScorer(nn.Module):
    """(..., N, C, T, H, W) -> (..., N); takes any N."""

    head = "score"
    clips_per_section = None

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.score = nn.Linear(trunk.num_features, 1)

    def forward(self, clips: Tensor) -> Tensor:
        *leading, c, t, h, w = clips.shape
        return self.score(self.trunk(clips.reshape(-1, c, t, h, w))).reshape(leading)
