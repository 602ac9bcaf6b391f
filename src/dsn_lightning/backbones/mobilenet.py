"""MobileNetV2 on each frame of a clip."""

import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import MobileNetV2 as ImageMobileNetV2

from dsn_lightning.backbones.clip_network import ClipNetwork, middle_frames, replace_first_convolution
from dsn_lightning.errors import UsageError

_FRAMES_AT_ONCE = 32  # on the CPU; more do not fit into the caches of a core


class MobileNetV2(ClipNetwork):
    """MobileNetV2 on each frame, its features averaged over time: the light network of efficient video recognition.

    The blocks have torchvision's names (``features.*``), so its ImageNet weights fit. The output of frozen blocks for a
    frame never changes, so clips can hold it in place of pixels (see `dsn_lightning.prepare.frozen_features`).

    Args:
        num_classes: J, outputs; 0 leaves the classification layer out and returns averaged features (B, 1280).
        num_frames: frames it looks at: the middle ones of a clip; None for all.
        in_channels: C, channels of a frame.
        frozen_blocks: how many of the 19 blocks of ``features`` keep their weights and batch statistics.
        dropout: probability, before the classification layer.

    Raises:
        UsageError: ``frozen_blocks`` is not from 0 to 19.
    """

    head = "fc"
    stacked_frames = 1
    num_features = 1280

    def __init__(
        self,
        num_classes: int,
        *,
        num_frames: int | None = None,
        in_channels: int = 3,
        frozen_blocks: int = 0,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not 0 <= frozen_blocks <= 19:
            raise UsageError(f"frozen_blocks={frozen_blocks}: must be from 0 to 19, the blocks of MobileNetV2")
        self.num_frames, self.in_channels, self.frozen_blocks = num_frames, in_channels, frozen_blocks
        self.features = ImageMobileNetV2(num_classes=1).features
        if in_channels != 3:
            replace_first_convolution(self.features, in_channels)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        if isinstance(self.fc, nn.Linear):
            nn.init.normal_(self.fc.weight, 0, 0.01)
            nn.init.zeros_(self.fc.bias)
        self.features[:frozen_blocks].requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    @property
    def frozen(self) -> nn.Sequential:
        """The blocks that keep their weights: normalised frames (F, C, H, W) -> activations (F, C', H', W')."""
        return self.features[: self.frozen_blocks]

    def train(self, mode: bool = True) -> "MobileNetV2":
        """Set the training mode; the frozen blocks stay in eval mode."""
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, C, T, H, W), or activations (B, C', T, H', W') of the frozen blocks, to (B, J)."""
        frames = middle_frames(clips, self.num_frames).transpose(1, 2)  # (B, T, C, H, W)
        x = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        if clips.shape[1] == self.in_channels:
            with torch.no_grad():
                x = self.frozen(x)
        norms = (part for part in self.features.modules() if isinstance(part, nn.BatchNorm2d))
        together = x.device.type != "cpu" or any(norm.training for norm in norms)  # which needs all frames at once
        together = together or torch.compiler.is_exporting()  # to a graph that takes any number of frames
        parts = (x,) if together else x.split(_FRAMES_AT_ONCE)
        x = torch.cat([self.features[self.frozen_blocks :](part).mean((2, 3)) for part in parts])
        return self.fc(self.dropout(x.unflatten(0, frames.shape[:2]).mean(1)))
