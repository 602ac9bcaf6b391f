"""3-D ResNets: R3D and R(2+1)D of "A Closer Look at Spatiotemporal Convolutions" (Tran et al., CVPR 2018)."""

from collections.abc import Callable, Sequence
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, BasicStem, Conv2Plus1D, Conv3DSimple, R2Plus1dStem

from dsn_lightning.backbones.activation_checkpoints import recomputed
from dsn_lightning.backbones.clip_network import ClipNetwork
from dsn_lightning.errors import UsageError


class ResNet3D(ClipNetwork):
    """torchvision's `VideoResNet`, built from its blocks, with any widths and depths and the same parameter names.

    The defaults give R3D-18. Fewer channels and blocks give the tiny networks of the embedded data set.

    Args:
        num_classes: J, outputs; 0 leaves the classification layer out and returns pooled features.
        in_channels: C, channels of a frame.
        stem_width: channels after the first convolution.
        widths: channels of the stages; each stage after the first halves time, height and width.
        blocks: residual blocks in each stage.
        conv: ``simple``, 3x3x3 (R3D), or ``r2plus1d``, 1x3x3 and then 3x1x1 (R(2+1)D).
        separate_midplanes: of R(2+1)D: compute the width between the two for each of a block's convolutions, where
            torchvision uses the first one's for both. The public weights of R(2+1)D-34 need this.
        norm_eps: epsilon of batch norms.
        channels_last: keep the weights in this memory format, which is faster and changes the last bits; ``auto``: on
            GPUs, wherever the network is moved to.
        checkpoint_activations: in training, keep only the inputs of the stem and of each block, and run these a second
            time for their gradients: a fraction of the memory for a third more time, and the same results.

    Raises:
        UsageError: ``conv`` or ``channels_last`` is unknown, or ``stem_width`` does not go with the former.
    """

    head = "fc"
    stacked_frames = 1
    frozen_blocks = 0

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        stem_width: int = 64,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
        conv: Literal["simple", "r2plus1d"] = "simple",
        separate_midplanes: bool = False,
        norm_eps: float = 1e-5,
        channels_last: bool | Literal["auto"] = False,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        if channels_last not in (True, False, "auto"):
            raise UsageError(f"channels_last={channels_last}: must be true, false or auto")
        self.channels_last = channels_last
        self.checkpoint_activations = checkpoint_activations
        if conv not in ("simple", "r2plus1d"):
            raise UsageError(f"conv={conv}: must be simple or r2plus1d")
        self.in_channels = in_channels
        factorised = conv == "r2plus1d"
        if factorised and stem_width != 64:
            raise UsageError(f"stem_width={stem_width}: the stem of R(2+1)D has 64 channels")
        self.stem = _stem(in_channels, stem_width, factorised=factorised)
        width_in = stem_width
        for i, (width, num_blocks) in enumerate(zip(widths, blocks, strict=True)):
            stage = nn.Sequential()
            for b in range(num_blocks):
                stride, shortcut = (2 if b == 0 and i > 0 else 1), None
                if stride != 1 or width_in != width:
                    projection = nn.Conv3d(width_in, width, 1, stride=stride, bias=False)
                    shortcut = nn.Sequential(projection, nn.BatchNorm3d(width))
                block = BasicBlock(width_in, width, Conv2Plus1D if factorised else Conv3DSimple, stride, shortcut)
                if factorised and separate_midplanes:
                    block.conv2[0] = Conv2Plus1D(width, width, width * width * 27 // (width * 9 + 3 * width))
                stage.append(block)
                width_in = width
            self.add_module(f"layer{i + 1}", stage)
        self.num_stages, self.num_features = len(widths), width_in
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(width_in, num_classes) if num_classes else nn.Identity()
        for module in self.modules():  # torchvision's initialisation of VideoResNet
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm3d):
                module.eps = norm_eps
        if channels_last is True:
            self.to(memory_format=torch.channels_last_3d)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the network, as `to` and `cuda` do, and let the memory format follow the device."""
        super()._apply(fn, recurse)
        if self.channels_last == "auto":
            weight = next(self.parameters())  # of the first convolution
            other_than_gpu = weight.device.type in ("cpu", "mps")
            wanted = torch.contiguous_format if other_than_gpu else torch.channels_last_3d
            if not weight.is_contiguous(memory_format=wanted):
                self.to(memory_format=wanted)
        return self

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, C, T, H, W) to logits (B, J), or to features (B, D)."""
        x, again = clips, self.checkpoint_activations and self.training and torch.is_grad_enabled()
        stages = (self.get_submodule(f"layer{i + 1}") for i in range(self.num_stages))
        for block in (self.stem, *(block for stage in stages for block in stage.children())):
            x = recomputed(block, x, module=block) if again else block(x)
        return self.fc(self.avgpool(x).flatten(1))


def _stem(in_channels: int, width: int, *, factorised: bool) -> nn.Sequential:
    """Return torchvision's stem with this number of input channels and this width."""
    if factorised:
        stem = R2Plus1dStem()
        if in_channels != 3:
            stem[0] = nn.Conv3d(in_channels, 45, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False)
        return stem
    if (in_channels, width) == (3, 64):
        return BasicStem()
    conv = nn.Conv3d(in_channels, width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(width), nn.ReLU(inplace=True))
