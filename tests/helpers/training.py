"""Small recognisers and their training."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from conftest import MeanClassifier
from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.observations.concat import ConcatObservation
from dsn_lightning.schedules import MultiStep


class Trunk(nn.Module):
    num_features = 3

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(3)

    def forward(self, clips):
        return self.norm(clips).amax((2, 3, 4))


class NormClassifier(MeanClassifier):
    """With batch-norm, whose running statistics a fixed classifier must keep."""

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
        "gamma": 0.5,
        "schedule": MultiStep(2, milestones=(1,)),
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    }
    return DSN(NormClassifier(3), ConcatObservation(Trunk(), clips_per_section=4), **{**arguments, **changes})


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
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, **flags)  # fmt: skip
    trainer.fit(model, loader or batches())


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def differs(before: dict[str, torch.Tensor], module: nn.Module) -> bool:
    return any(not torch.equal(before[name], value) for name, value in module.state_dict().items())
