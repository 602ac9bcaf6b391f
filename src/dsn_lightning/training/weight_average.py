"""The running average of the weights that tests use, `schedule.ema`."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class AveragedWeights(WeightAveraging):
    """An exponential moving average of all weights and running statistics: Lightning's own, made to fit.

    After each batch that ends with optimiser steps (DSN's two count as one), average += (1 - decay) * (weights -
    average); before the first one it is the weights themselves. Validation, a checkpoint's ``state_dict`` and what is
    left after the training are the averages; rewards and gradients come from the weights in training. A checkpoint
    holds both.

    Lightning's `EMAWeightAveraging` differs in two points. Its decay * average + (1 - decay) * weights rounds, even
    where both are the same: a classifier that is kept as it is, frozen norms and, rounded down, their counts of batches
    would drift. And it makes the average before the networks are moved to a GPU, so that each update would bring all
    weights to the CPU.

    Args:
        decay: in (0, 1).
    """

    def __init__(self, *, decay: float) -> None:
        @torch.no_grad()
        def move(averages: list[Tensor], weights: list[Tensor], _: Tensor) -> None:
            if averages[0].is_floating_point():
                torch._foreach_lerp_(averages, weights, 1 - decay)  # equal values stay as they are
            else:
                torch._foreach_copy_(averages, weights)

        super().__init__(multi_avg_fn=move)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make the average on the device of the training."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def give(self, pl_module: pl.LightningModule) -> None:
        """Put the average into the networks.

        Lightning does so at the end of a training, but not where one stops early, or was over when it was resumed.
        """
        self._copy_average_to_current(pl_module)
