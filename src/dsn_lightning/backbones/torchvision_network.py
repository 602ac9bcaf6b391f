"""Any classifier of torchvision as a clip network."""

from typing import Any

from torch import Tensor, nn
from torchvision import models

from dsn_lightning.backbones.clip_network import (
    ClipNetwork,
    Convolution,
    convolution_like,
    middle_frames,
    replace_first_convolution,
)
from dsn_lightning.errors import UsageError


class TorchvisionNetwork(ClipNetwork):
    """Any classifier of torchvision by name: one of videos on whole clips, one of images on each frame, then averaged.

    Args:
        num_classes: J, outputs; 0 leaves the classification layer out and returns its input (B, D).
        model: a name in `torchvision.models` or `torchvision.models.video`, such as ``resnet50`` or ``swin3d_t``.
        num_frames: frames it looks at: the middle ones of a clip; None for all.
        in_channels: C, channels of a frame.
        **options: arguments of the model's constructor.

    Raises:
        UsageError: torchvision has no such classifier, or it has several outputs in training.
    """

    stacked_frames = 1
    frozen_blocks = 0

    def __init__(
        self, num_classes: int, *, model: str, num_frames: int | None = None, in_channels: int = 3, **options: Any
    ) -> None:
        super().__init__()
        names = set(models.list_models(module=models)) | set(models.list_models(module=models.video))
        if model not in names:
            known = f"{', '.join(sorted(names)[:4])}, ... (torchvision.models.list_models)"
            raise UsageError(f"model={model}: torchvision has no such classifier; it has {known}")
        self.takes_clips = model in models.list_models(module=models.video)
        self.num_frames, self.in_channels = num_frames, in_channels
        self.model = models.get_model(model, weights=None, **options)
        name, last = _last_layer(self.model)
        self.head = f"model.{name}"
        self.num_features = last.in_features if isinstance(last, nn.Linear) else last.in_channels
        layer: nn.Module
        if not num_classes:
            layer = nn.Identity()
        elif isinstance(last, nn.Linear):
            layer = nn.Linear(last.in_features, num_classes, bias=last.bias is not None)
        else:
            layer = convolution_like(last, last.in_channels, num_classes)
        self.model.set_submodule(name, layer)
        if {"AuxLogits", "aux1"} & {name for name, _ in self.model.named_children()}:
            raise UsageError(f"model={model}: has several outputs in training; choose another one")
        if in_channels != 3:
            replace_first_convolution(self.model, in_channels)

    def forward(self, clips: Tensor) -> Tensor:
        """Map normalised clips (B, C, T, H, W) to logits (B, J), or to features (B, D)."""
        clips = middle_frames(clips, self.num_frames)
        if self.takes_clips:
            return self.model(clips)
        frames = clips.transpose(1, 2)
        return self.model(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).mean(1)


def _last_layer(model: nn.Module) -> tuple[str, nn.Linear | Convolution]:
    """Return the name of the last layer with weights, which gives the classes, and the layer."""
    return [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Conv3d)][-1]


def published_classes(address: str) -> list[str] | None:
    """Return the class names of torchvision's weights at an address; None if they are not torchvision's."""
    names = [*models.list_models(module=models), *models.list_models(module=models.video)]
    found = [entry for name in names for entry in models.get_model_weights(name) if entry.url == address]
    return list(found[0].meta["categories"]) if found else None
