"""2-D networks that look at a clip's frames one by one."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.mobilenetv2 import MobileNetV2 as ImageMobileNetV2

from dsn_lightning.errors import UsageError

_AT_ONCE = 32  # frames; more do not fit into the caches of a core


def middle_frames(clips: Tensor, num_frames: int | None) -> Tensor:
    """Return the middle frames of clips (B, C, T, H, W): (B, C, num_frames, H, W); None keeps all.

    Raises:
        UsageError: clips have fewer.
    """
    if num_frames is None:
        return clips
    first = (clips.shape[2] - num_frames) // 2
    if first < 0:
        raise UsageError(
            f"clips of {clips.shape[2]} frames are too short for a network that looks at {num_frames}; raise "
            "backbone.frames_per_clip, or choose a backbone or observation network of fewer frames"
        )
    return clips[:, :, first : first + num_frames]


class MobileNetV2(nn.Module):
    """MobileNetV2 on each frame, its features averaged over time: the light network of efficient video recognition.

    torchvision's blocks under torchvision's names (``features.*``), so that its ImageNet weights fit. The first blocks
    can be frozen. What they give for a frame then never changes, so they may be left out of a training: clips then
    hold those activations in place of pixels (see `dsn_lightning.data.activations`).

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


class TorchvisionNetwork(nn.Module):
    """Any classifier of torchvision by name: of videos on whole clips, of images on each frame, averaged over time.

    Args:
        num_classes: J, outputs; 0 leaves the classification layer out and returns its input (B, D).
        model: a name in `torchvision.models` or `torchvision.models.video`, such as ``resnet50`` or ``swin3d_t``.
        num_frames: frames it looks at, the middle ones of a clip; None for all.
        in_channels: C, channels of a frame.
        **options: of the model's constructor.
    """

    stacked_frames = 1

    def __init__(
        self, num_classes: int, *, model: str, num_frames: int | None = None, in_channels: int = 3, **options: Any
    ) -> None:
        super().__init__()
        names = set(models.list_models(module=models)) | set(models.list_models(module=models.video))
        if model not in names:
            raise UsageError(
                f"model={model}: torchvision has no such classifier; it has {', '.join(sorted(names)[:4])}, ... "
                "(torchvision.models.list_models)"
            )
        self.takes_clips = model in models.list_models(module=models.video)
        self.num_frames = num_frames
        self.in_channels = in_channels
        self.model = models.get_model(model, weights=None, **options)
        name, last = _classification_layer(self.model)
        self.head = f"model.{name}"
        self.num_features = last.in_features if isinstance(last, nn.Linear) else last.in_channels
        own: nn.Module
        if not num_classes:
            own = nn.Identity()
        elif isinstance(last, nn.Linear):
            own = nn.Linear(last.in_features, num_classes, bias=last.bias is not None)
        else:
            own = _like(last, last.in_channels, num_classes)
        parent, _, child = name.rpartition(".")
        setattr(self.model.get_submodule(parent), child, own)
        if getattr(self.model, "AuxLogits", None) is not None or getattr(self.model, "aux1", None) is not None:
            raise UsageError(f"model={model}: has more than one output in training; choose another one")
        if in_channels != 3:
            replace_first_convolution(self.model, in_channels)

    @property
    def fc(self) -> nn.Module:
        """The classification layer."""
        return self.get_submodule(self.head)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, C, T, H, W) to logits (B, J), or to features (B, D)."""
        clips = middle_frames(clips, self.num_frames)
        if self.takes_clips:
            return self.model(clips)
        frames = clips.transpose(1, 2)
        return self.model(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).mean(1)


Convolution = nn.Conv2d | nn.Conv3d


def _classification_layer(model: nn.Module) -> tuple[str, nn.Linear | Convolution]:
    """Return the last layer with weights, which gives the classes, and its name."""
    return [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Conv3d)][-1]


def replace_first_convolution(network: nn.Module, in_channels: int) -> None:
    """Give a network's first convolution another number of input channels, with fresh weights."""
    name, conv = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Conv3d))
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, _like(conv, in_channels, conv.out_channels))


def _like(conv: Convolution, in_channels: int, out_channels: int) -> Convolution:
    """Return a convolution of the same geometry with other widths."""
    geometry: dict[str, Any] = {key: getattr(conv, key) for key in ("kernel_size", "stride", "padding", "dilation")}
    return type(conv)(in_channels, out_channels, **geometry, bias=conv.bias is not None)
