"""A clip network: one layer on a clip's mean colour."""

from torch import Tensor, nn


class MeanColour(nn.Module):
    """(B, C, T, H, W) -> (B, J)."""

    head = "fc"
    stacked_frames = 1
    frozen_blocks = 0

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = self.num_features = in_channels
        self.fc = nn.Linear(in_channels, num_classes) if num_classes else nn.Identity()

    def forward(self, clips: Tensor) -> Tensor:
        return self.fc(clips.mean((2, 3, 4)))
