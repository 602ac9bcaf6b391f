"""MoViNet-A0: a light network of depthwise convolutions over space and time, base or causal (stream)."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsn_lightning.backbones.clip_network import ClipNetwork, draw_initial_weights, middle_frames, named_layers

_STAGES = (  # of blocks: output width, expanded width, kernel over time, kernel over height and width, stride
    ((8, 24, 1, 5, 2),),
    ((32, 80, 3, 3, 2), (32, 80, 3, 3, 1), (32, 80, 3, 3, 1)),
    ((56, 184, 5, 3, 2), (56, 112, 3, 3, 1), (56, 184, 3, 3, 1)),
    ((56, 184, 5, 3, 1), (56, 184, 3, 3, 1), (56, 184, 3, 3, 1), (56, 184, 3, 3, 1)),
    ((104, 384, 5, 3, 2), (104, 280, 1, 5, 1), (104, 280, 1, 5, 1), (104, 344, 1, 5, 1)),
)
_STEM_WIDTH, _LAST_WIDTH = 8, 480
_NORM_EPS = 0.001  # of the public weights


class MoViNetA0(ClipNetwork):
    """MoViNet-A0, base or stream, of *MoViNets: Mobile Video Networks for Efficient Video Recognition*.

    See Kondratyuk et al. (CVPR 2021). The stream form is causal: its features of a frame depend on that frame and those
    before it alone, because its convolutions over time pad at the front and its squeeze-excitation averages over the
    frames so far. It takes whole clips; there are no stream buffers. Names, padding (TensorFlow's "SAME") and gates
    are those of the public PyTorch weights, ``modelA0_statedict_v3`` and ``modelA0_stream_statedict_v3``.

    Args:
        num_classes: J, outputs; 0 leaves the classification layer out and returns its input (B, 2048).
        causal: the stream form, whose convolutions are 2-D over space and then 1-D over time.
        num_frames: frames it looks at: the middle ones of a clip; None for all.
        in_channels: C, channels of a frame.
        dropout: probability, before the classification layer.
    """

    stacked_frames = 1
    frozen_blocks = 0
    num_features = 2048

    def __init__(
        self,
        num_classes: int,
        *,
        causal: bool = False,
        num_frames: int | None = None,
        in_channels: int = 3,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.num_frames, self.in_channels = num_frames, in_channels
        self.conv1 = _Convolution(in_channels, _STEM_WIDTH, (1, 3), causal=causal, stride=2)
        self.blocks, width_in = nn.Sequential(), _STEM_WIDTH
        for i, stage in enumerate(_STAGES):
            for j, (width, expanded, time, side, stride) in enumerate(stage):
                block = _InvertedBottleneck(width_in, width, expanded, (time, side), stride, causal=causal)
                self.blocks.add_module(f"b{i}_l{j}", block)
                width_in = width
        self.conv7 = _Convolution(width_in, _LAST_WIDTH, causal=causal)
        last = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        name = "conv2d" if causal else "conv3d"  # in the weights, where it is a convolution of size 1
        self.classifier = nn.Sequential(
            _Convolution(_LAST_WIDTH, self.num_features, causal=causal, norm=False, active=False),
            nn.SiLU(),
            nn.Dropout(dropout),
            named_layers(conv_1=named_layers(**{name: last})),
        )
        self.head = f"classifier.3.conv_1.{name}"
        draw_initial_weights(self)
        if causal:
            self.to(memory_format=torch.channels_last)  # a quarter faster on CPUs; 3-D convolutions gain nothing

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, C, T, H, W) to logits (B, J), or to features (B, 2048)."""
        x = self.conv7(self.blocks(self.conv1(middle_frames(clips, self.num_frames))))
        dense, activation, dropout, last = self.classifier
        x = dense(x.mean((2, 3, 4), keepdim=True))  # for a stream too: its average after the last frame
        return last(dropout(activation(x)).flatten(1))


class _Convolution(nn.Module):
    """A convolution with batch norm and activation: (B, C, T, H, W) -> (B, D, T, H / stride, W / stride).

    Args:
        width_in: C.
        width: D.
        kernel: its size over time, and over height and width.
        causal: convolve each frame, and then over the frames so far, each with its own norm and activation.
        stride: over height and width, 1 or 2.
        groups: of channels.
        norm: has a batch norm, otherwise a bias.
        active: has an activation.
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        kernel: tuple[int, int] = (1, 1),
        *,
        causal: bool,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        active: bool = True,
    ) -> None:
        super().__init__()
        self.causal, self.stride = causal, stride
        self.time, self.side = kernel
        padding = self.side // 2 if stride == 1 else 0
        bias = not norm
        activation = (nn.Hardswish if causal else nn.SiLU) if active else nn.Identity
        self.conv_2 = None
        if not causal:
            size, steps, paddings = (*kernel, self.side), (1, stride, stride), (self.time // 2, padding, padding)
            conv = nn.Conv3d(width_in, width, size, steps, paddings, groups=groups, bias=bias)
            self.conv_1 = named_layers(conv3d=conv, norm=_norm(nn.BatchNorm3d, width, norm), act=activation())
            return
        layer = partial(_causal_layer, norm=norm, activation=activation)
        self.conv_1 = layer(nn.Conv2d(width_in, width, self.side, stride, padding, groups=groups, bias=bias))
        if self.time > 1:
            self.conv_2 = layer(nn.Conv2d(width, width, (self.time, 1), groups=groups, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = _padded(x, self.side)
        if not self.causal:
            return self.conv_1(x)
        num_frames = x.shape[2]
        x = self.conv_1(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (-1, num_frames)).transpose(1, 2)
        if self.conv_2 is None:
            return x
        side = x.shape[3:]
        x = F.pad(x, (0, 0, 0, 0, self.time - 1, 0)).flatten(3)  # (B, D, time - 1 + T, H * W)
        return self.conv_2(x).unflatten(3, side)


def _padded(x: Tensor, side: int) -> Tensor:
    """Pad height and width as TensorFlow's "SAME" does for a kernel of ``side`` and a stride of 2."""
    pads = []
    for length in (x.shape[4], x.shape[3]):
        total = side - 2 + length % 2
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def _causal_layer(conv: nn.Conv2d, *, norm: bool, activation: type[nn.Module]) -> nn.Sequential:
    return named_layers(conv2d=conv, norm=_norm(nn.BatchNorm2d, conv.out_channels, norm), act=activation())


def _norm(kind: type[nn.BatchNorm2d | nn.BatchNorm3d], width: int, exists: bool) -> nn.Module:
    return kind(width, eps=_NORM_EPS) if exists else nn.Identity()


class _SqueezeExcitation(nn.Module):
    """Squeeze-excitation: scales each channel by a gate that is computed from channel means.

    The base form uses the means over the clip. The stream form uses those over the frames so far and those of the
    current frame, so each frame has its own gate.
    """

    def __init__(self, width: int, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        means = 2 if causal else 1
        squeezed = (width // 4 * means + 4) // 8 * 8  # the nearest multiple of 8
        layer = partial(_Convolution, causal=causal, norm=False)
        self.fc1, self.fc2 = layer(means * width, squeezed), layer(squeezed, width, active=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.causal:
            return x * self.fc2(self.fc1(x.mean((2, 3, 4), keepdim=True))).sigmoid()
        frames = x.mean((3, 4), keepdim=True)  # (B, C, T, 1, 1)
        count = torch.arange(1, x.shape[2] + 1, device=x.device)[:, None, None]
        scale = self.fc2(self.fc1(torch.cat([frames.cumsum(2) / count, frames], 1)))
        return x * (0.2 * scale + 0.5).clamp(0, 1)  # TensorFlow's hard sigmoid; PyTorch's has a slope of 1/6


class _InvertedBottleneck(nn.Module):
    """An inverted bottleneck with squeeze-excitation, added with a learned scale that starts at 0, as in the paper."""

    def __init__(
        self, width_in: int, width: int, expanded: int, kernel: tuple[int, int], stride: int, *, causal: bool
    ) -> None:
        super().__init__()
        layer = partial(_Convolution, causal=causal)
        self.expand = layer(width_in, expanded)
        self.deep = layer(expanded, expanded, kernel, stride=stride, groups=expanded)
        self.se = _SqueezeExcitation(expanded, causal=causal)
        self.project = layer(expanded, width, active=False)
        self.res = nn.Sequential(_Pool(), layer(width_in, width, active=False)) if stride > 1 else nn.Identity()
        self.alpha = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.res(x) + self.alpha * self.project(self.se(self.deep(self.expand(x))))


class _Pool(nn.Module):
    """Average pooling of size 3 and stride 2 with "SAME" padding, which is excluded from the averages."""

    def forward(self, x: Tensor) -> Tensor:
        inside = torch.ones_like(x[:1, :1, :1])
        sums, counts = (F.avg_pool3d(_padded(part, 3), (1, 3, 3), (1, 2, 2)) for part in (x, inside))
        return sums / counts
