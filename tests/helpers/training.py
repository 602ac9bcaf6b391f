"""Small recognisers and their training."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from conftest import MeanClassifier
from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.backbones.resnet2d import ResNet2D
from dsn_lightning.backbones.resnet3d import ResNet3D
from dsn_lightning.observations.concat import ConcatObservation
from dsn_lightning.rewards.correct_class import CorrectClass
from dsn_lightning.schedules import MultiStep


class Trunk(nn.Module):
    """A clip network without a classification layer: each channel's maximum after batch norm."""

    in_channels = num_features = 3
    head = "fc"
    stacked_frames = 1
    frozen_blocks = 0

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(3)
        self.fc = nn.Identity()

    def forward(self, clips):
        return self.norm(clips).amax((2, 3, 4))


class NormClassifier(MeanClassifier):
    """With batch norm, whose running statistics a fixed classifier must keep."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.norm = nn.BatchNorm3d(3)

    def forward(self, clips):
        return super().forward(self.norm(clips))


def sgd(lr: float = 0.1):
    return lambda parameters: torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def make_dsn(**changes: Any) -> DSN:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {
        "sampler_optimizer": sgd(),
        "classifier_optimizer": sgd(),
        "reward": CorrectClass(gamma=0.5),
        "schedule": MultiStep(2, milestones=(1,)),
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    }
    return DSN(NormClassifier(3), ConcatObservation(Trunk(), clips_per_section=4), **{**arguments, **changes})


def sure_of_clip_2() -> DSN:
    """A DSN whose policy has collapsed."""
    model = make_dsn()
    torch.nn.init.constant_(model.observation.fc.bias, 0.0)
    model.observation.fc.bias.data[2] = 50.0
    return model


def small_resnet(num_classes: int = 3) -> ResNet3D:
    torch.manual_seed(0)
    return ResNet3D(num_classes=num_classes, stem_width=4, widths=[4, 8], blocks=[1, 1])


def make_residual_dsn(**changes: Any) -> DSN:
    """A DSN of residual networks, whose norms have seen some data."""
    arguments: dict[str, Any] = {
        "sampler_optimizer": sgd(),
        "classifier_optimizer": sgd(),
        "reward": CorrectClass(gamma=0.5),
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "schedule": MultiStep(2, milestones=(1,)),
    }
    classifier = small_resnet()
    trunk = ResNet2D(num_classes=0, num_frames=2, stem_width=4, widths=[4, 8], blocks=[1, 1])
    for network in (classifier, trunk):
        network.train()(torch.randn(4, 3, 2, 8, 8))
    return DSN(classifier, ConcatObservation(trunk, clips_per_section=4), **{**arguments, **changes})


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    return [part for part in model.modules() if isinstance(part, _BatchNorm)]


def batches(num: int = 8) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    items = [
        {
            "clips": torch.randint(256, (2, 4, 3, 2, 4, 4), dtype=torch.uint8, generator=generator),
            "targets": nn.functional.one_hot(torch.tensor(i % 3), 3).float(),
            "video_id": f"video {i}",
        }
        for i in range(num)
    ]
    return DataLoader(items, batch_size=4)


def fit(model: pl.LightningModule, epochs: int = 2, loader: DataLoader | None = None, **flags: Any) -> None:
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **flags,
    )
    trainer.fit(model, loader or batches())


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def differs(before: dict[str, torch.Tensor], module: nn.Module) -> bool:
    return any(not torch.equal(before[name], value) for name, value in module.state_dict().items())
