"""2-D networks that look at a clip's frames one by one."""

import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import MobileNetV2 as ImageMobileNetV2

from dsn_lightning.backbones.frames import middle_frames, replace_first_convolution
from dsn_lightning.errors import UsageError

_AT_ONCE = 32  # frames; more do not fit into the caches of a core


class MobileNetV2(nn.Module):
    """MobileNetV2 on each frame, its features averaged over time: the light network of efficient video recognition.

    torchvision's blocks under torchvision's names (``features.*``), so that its ImageNet weights fit. The first blocks
    can be frozen. What they give for a frame then never changes, so they may be left out of a training: clips then
    hold those activations in place of pixels (see `dsn_lightning.prepare.frozen_features`).

    Args:
        num_classes: J, outputs; 0 leaves the classification layer out and returns averaged features (B, 1280).
        num_frames: frames it looks at, the middle ones of a clip; None for all.
        in_channels: C, channels of a frame.
        frozen_blocks: how many of the 19 blocks of ``features`` keep their weights and batch statistics.
        dropout: before the classification layer.
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
            raise UsageError(f"backbone.network.frozen_blocks={frozen_blocks}: MobileNetV2 has 19 blocks")
        self.num_frames = num_frames
        self.in_channels = in_channels
        self.frozen_blocks = frozen_blocks
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
        """Map normalised clips (B, C, T, H, W), or the frozen blocks' activations (B, C', T, H', W'), to (B, J)."""
        frames = middle_frames(clips, self.num_frames).transpose(1, 2)  # (B, T, C, H, W)
        x = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        if clips.shape[1] == self.in_channels:
            with torch.no_grad():
                x = self.frozen(x)
        x = torch.cat([self.features[self.frozen_blocks :](few).mean((2, 3)) for few in self._in_parts(x)])
        return self.fc(self.dropout(x.unflatten(0, frames.shape[:2]).mean(1)))

    def _in_parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return frames a few at a time where that makes no difference but for the time that it saves: on the CPU, and
        unless batch norm is trained, which looks at all of them."""
        norms = (part for part in self.features.modules() if isinstance(part, nn.BatchNorm2d))
        return x.split(_AT_ONCE) if x.device.type == "cpu" and not any(n.training for n in norms) else (x,)
