"""2-D ResNets over frames stacked as channels (R2D of "A Closer Look at Spatiotemporal Convolutions", Tran et al.)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from dsn_lightning.backbones.clip_network import ClipNetwork, middle_frames


class ResNet2D(ClipNetwork):
    """A clip network whose first convolution merges all frames; torchvision's `ResNet` without max-pooling.

    The defaults give the paper's ResNet2D-18: 8 RGB frames enter as 24 channels, at 1.932 GMACs for 112x112 pixels,
    which is what Tables III and IV imply. Without classes it is the trunk of an observation network.

    Args:
        num_classes: J, outputs; 0 leaves the classification layer out and returns pooled features.
        num_frames: frames it looks at: the middle ones of longer clips (Sec. V-B).
        in_channels: C, channels of a frame.
        stem_width: channels after the first convolution.
        widths: channels of the stages; each stage after the first halves height and width.
        blocks: residual blocks in each stage.
        channels_last: keep the weights in this memory format, which is faster.
    """

    head = "fc"
    frozen_blocks = 0

    def __init__(
        self,
        num_classes: int,
        *,
        num_frames: int = 8,
        in_channels: int = 3,
        stem_width: int = 64,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.num_frames = self.stacked_frames = num_frames
        self.in_channels = in_channels
        self.conv1 = nn.Conv2d(num_frames * in_channels, stem_width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem_width)
        self.relu = nn.ReLU(inplace=True)
        width_in = stem_width
        for i, (width, num_blocks) in enumerate(zip(widths, blocks, strict=True)):
            stage = nn.Sequential()
            for b in range(num_blocks):
                stride, shortcut = (2 if b == 0 and i > 0 else 1), None
                if stride != 1 or width_in != width:
                    conv = nn.Conv2d(width_in, width, 1, stride=stride, bias=False)
                    shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))
                stage.append(BasicBlock(width_in, width, stride, shortcut))
                width_in = width
            self.add_module(f"layer{i + 1}", stage)
        self.num_stages, self.num_features = len(widths), width_in
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width_in, num_classes) if num_classes else nn.Identity()
        for module in self.modules():  # torchvision's initialisation of ResNet
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if channels_last:
            self.to(memory_format=torch.channels_last)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, C, T, H, W) to logits (B, J), or to features (B, D)."""
        frames = middle_frames(clips, self.num_frames)
        x = frames.permute(0, 3, 4, 2, 1).flatten(3).permute(0, 3, 1, 2)  # (B, T*C, H, W), laid out channels last
        x = self.relu(self.bn1(self.conv1(x)))
        for i in range(self.num_stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return self.fc(self.avgpool(x).flatten(1))
