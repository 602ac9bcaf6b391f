"""Any classifier of torchvision as a clip network."""

from typing import Any

from torch import Tensor, nn
from torchvision import models

from dsn_lightning.backbones.frames import Convolution, convolution_like, middle_frames, replace_first_convolution
from dsn_lightning.errors import UsageError


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
            own = convolution_like(last, last.in_channels, num_classes)
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


def _classification_layer(model: nn.Module) -> tuple[str, nn.Linear | Convolution]:
    """Return the last layer with weights, which gives the classes, and its name."""
    return [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Conv3d)][-1]
