"""X3D: a ResNet with depthwise 3-D convolutions, expanded step by step from an image network."""

from torch import Tensor, nn

from dsn_lightning.backbones.clip_network import ClipNetwork, draw_initial_weights, middle_frames, named_layers

_STEM_WIDTH = 24
_STAGES = ((3, 24, 54, 8), (5, 48, 108, 8), (11, 96, 216, 16), (7, 192, 432, 32))
"""Blocks, width, width inside a block, and width inside its squeeze-excitation."""


class X3D(ClipNetwork):
    """X3D-S, of *X3D: Expanding Architectures for Efficient Video Recognition* (Feichtenhofer, CVPR 2020).

    X3D-XS and X3D-M have the same layers and see other clips: 4 frames of 160 x 160 and 16 of 224 x 224 pixels.
    Names are those of the public weights of pytorchvideo. Its network pools 13 x 5 x 5 positions, those of
    13 frames of 160 x 160 pixels. This one pools all positions, whatever their number, and returns logits.

    Args:
        num_classes: J, outputs; 0 leaves the classification layer out and returns its input (B, 2048).
        num_frames: frames it looks at: the middle ones of a clip; None for all.
        in_channels: C, channels of a frame.
        dropout: probability, before the classification layer.
    """

    head = "blocks.5.proj"
    stacked_frames = 1
    frozen_blocks = 0
    num_features = 2048

    def __init__(
        self, num_classes: int, *, num_frames: int | None = None, in_channels: int = 3, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.num_frames, self.in_channels = num_frames, in_channels
        self.blocks, width_in = nn.Sequential(_stem(in_channels)), _STEM_WIDTH
        for num_blocks, width, inner, squeezed in _STAGES:
            stage = nn.Sequential()
            for i in range(num_blocks):
                gate = _Gate(inner, squeezed) if i % 2 == 0 else nn.Identity()
                stage.append(_Bottleneck(width_in, width, inner, gate, stride=2 if i == 0 else 1))
                width_in = width
            self.blocks.append(named_layers(res_blocks=stage))
        self.blocks.append(_head(width_in, _STAGES[-1][2], self.num_features, num_classes, dropout))
        draw_initial_weights(self)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, C, T, H, W) to logits (B, J), or to features (B, 2048)."""
        return self.blocks(middle_frames(clips, self.num_frames))


def _stem(in_channels: int) -> nn.Sequential:
    over_space = nn.Conv3d(in_channels, _STEM_WIDTH, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
    over_time = nn.Conv3d(_STEM_WIDTH, _STEM_WIDTH, (5, 1, 1), padding=(2, 0, 0), groups=_STEM_WIDTH, bias=False)
    conv = named_layers(conv_t=over_space, conv_xy=over_time)  # the names are exchanged in the weights, too
    return named_layers(conv=conv, norm=nn.BatchNorm3d(_STEM_WIDTH), activation=nn.ReLU(inplace=True))


def _head(width: int, inner: int, num_features: int, num_classes: int, dropout: float) -> nn.Sequential:
    pool = named_layers(
        pre_conv=nn.Conv3d(width, inner, 1, bias=False),
        pre_norm=nn.BatchNorm3d(inner),
        pre_act=nn.ReLU(inplace=True),
        pool=nn.AdaptiveAvgPool3d(1),
        post_conv=nn.Conv3d(inner, num_features, 1, bias=False),
        post_act=nn.ReLU(inplace=True),
    )
    last = nn.Linear(num_features, num_classes) if num_classes else nn.Identity()
    return named_layers(pool=pool, flatten=nn.Flatten(), dropout=nn.Dropout(dropout), proj=last)


class _Bottleneck(nn.Module):
    """A residual bottleneck whose middle convolution is depthwise and 3-D; ``gate`` follows it."""

    def __init__(self, width_in: int, width: int, inner: int, gate: nn.Module, *, stride: int) -> None:
        super().__init__()
        steps = (1, stride, stride)
        self.branch1_conv = nn.Conv3d(width_in, width, 1, steps, bias=False) if stride > 1 else nn.Identity()
        self.branch1_norm = nn.BatchNorm3d(width) if width_in != width else nn.Identity()  # none in the first stage
        self.branch2 = named_layers(
            conv_a=nn.Conv3d(width_in, inner, 1, bias=False),
            norm_a=nn.BatchNorm3d(inner),
            act_a=nn.ReLU(inplace=True),
            conv_b=nn.Conv3d(inner, inner, 3, steps, padding=1, groups=inner, bias=False),
            norm_b=nn.Sequential(nn.BatchNorm3d(inner), gate),
            act_b=nn.SiLU(),
            conv_c=nn.Conv3d(inner, width, 1, bias=False),
            norm_c=nn.BatchNorm3d(width),
        )
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.branch1_norm(self.branch1_conv(x)) + self.branch2(x))


class _Gate(nn.Module):
    """Squeeze-excitation: scales each channel by what the clip is like."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv3d(width, squeezed, 1), nn.ReLU(), nn.Conv3d(squeezed, width, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.block(x.mean((2, 3, 4), keepdim=True))
