"""3-D ResNets (R3D of "A Closer Look at Spatiotemporal Convolutions", Tran et al., CVPR 2018)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, Conv3DSimple


class ResNet3D(nn.Module):
    """torchvision's `VideoResNet` with free widths and depths, and the same parameter names.

    With the defaults it is R3D-18; fewer channels and blocks give the tiny networks of the embedded data set.

    Args:
        num_classes: J, outputs; 0 leaves the classification layer out and returns pooled features.
        in_channels: C, channels of a frame.
        stem_width: channels after the first convolution.
        widths: channels of the stages; each stage after the first halves time, height and width.
        blocks: residual blocks in each stage.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        stem_width: int = 64,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(in_channels, stem_width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
            nn.BatchNorm3d(stem_width),
            nn.ReLU(inplace=True),
        )
        width_in = stem_width
        for i, (width, num_blocks) in enumerate(zip(widths, blocks, strict=True)):
            stage = nn.Sequential()
            for b in range(num_blocks):
                stride = 2 if b == 0 and i > 0 else 1
                shortcut = None
                if stride != 1 or width_in != width:
                    shortcut = nn.Sequential(
                        nn.Conv3d(width_in, width, 1, stride=stride, bias=False), nn.BatchNorm3d(width)
                    )
                stage.append(BasicBlock(width_in, width, Conv3DSimple, stride, shortcut))
                width_in = width
            self.add_module(f"layer{i + 1}", stage)
        self.num_stages = len(widths)
        self.num_features = width_in
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(width_in, num_classes) if num_classes else nn.Identity()
        for module in self.modules():  # torchvision's initialisation of VideoResNet
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)
        self.to(memory_format=torch.channels_last_3d)  # a third faster on CPUs, and with tensor cores

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, C, T, H, W) to logits (B, J)."""
        x = self.stem(clips)
        for i in range(self.num_stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return self.fc(self.avgpool(x).flatten(1))
