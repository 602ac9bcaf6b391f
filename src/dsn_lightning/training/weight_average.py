"""The running average of the weights that tests use, `schedule.ema`."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class AveragedWeights(WeightAveraging):
    """An exponential moving average of all weights and running statistics, on Lightning's `WeightAveraging`.

    After each batch that ends with optimiser steps (DSN's two count as one), average += (1 - decay) * (weights -
    average); before the first one it equals the weights. Validation, a checkpoint's ``state_dict`` and the trained
    networks use the average; rewards and gradients use the weights in training. A checkpoint holds both.

    Lightning's `EMAWeightAveraging` differs in two points. Its decay * average + (1 - decay) * weights rounds, even
    where both are equal: a fixed classifier, frozen norms and their counts of batches would drift. And it creates the
    average before the networks are moved to a GPU, so that each update would copy all weights to the CPU.

    Args:
        decay: in (0, 1).
    """

    def __init__(self, *, decay: float) -> None:
        @torch.no_grad()
        def move(averages: list[Tensor], weights: list[Tensor], _: Tensor) -> None:
            if averages[0].is_floating_point():
                torch._foreach_lerp_(averages, weights, 1 - decay)  # equal values do not change
            else:
                torch._foreach_copy_(averages, weights)

        super().__init__(multi_avg_fn=move)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Create the average on the device of the training."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def copy_to(self, pl_module: pl.LightningModule) -> None:
        """Copy the average to the networks.

        Lightning does so at the end of a training, but not when one stops early, or was complete when resumed.
        """
        self._copy_average_to_current(pl_module)
