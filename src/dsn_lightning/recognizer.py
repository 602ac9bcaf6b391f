"""What every trained recogniser shares: normalisation, manual optimisation, learning rates, validation metrics."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from dsn_lightning.keyed import keyed_uniforms
from dsn_lightning.metrics import VideoMetrics
from dsn_lightning.schedules import Schedule


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put ``module`` into eval mode and give each of its parts its own mode back afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


class Recognizer(pl.LightningModule):
    """Base of `DSN` and `Baseline`.

    Args:
        schedule: factor on the learning rates as a function of the epoch.
        mean: of each channel, on pixel values in [0, 1].
        std: of each channel, likewise.
        seed: key of all random numbers that are drawn in training.
        gradient_clip: largest 2-norm of an optimiser's gradient; None leaves it alone. (Lightning's own flag does
            not work in manual optimisation.)
        accumulate: batches whose gradients are averaged before a step, >= 1.
    """

    classifier: nn.Module
    optimizer_names: Sequence[str]  # in the order of `configure_optimizers`
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        schedule: Schedule,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int = 0,
        gradient_clip: float | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.schedules = {"classifier": schedule, "sampler": schedule}
        self.seed = seed
        self.gradient_clip = gradient_clip
        self.accumulate = accumulate
        self.register_buffer("mean", 255 * torch.tensor(mean).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(-1, 1, 1, 1), persistent=False)
        self.validation_metrics = VideoMetrics()

    @abstractmethod
    def predict(self, batch: dict[str, Any]) -> Tensor:
        """Return log H, the video-level log-probabilities (B, J), for a batch of test clips."""

    def normalize(self, clips: Tensor) -> Tensor:
        """Turn uint8 clips (..., C, T, H, W) into floats of about zero mean and unit variance."""
        return (clips - self.mean) / self.std

    def classify(self, clips: Tensor) -> Tensor:
        """Return the classifier's logits (..., J) for uint8 clips (..., C, T, H, W)."""
        logits = self.classifier(self.normalize(clips).flatten(0, -5)).float()
        return logits.unflatten(0, clips.shape[:-4])

    def optimizer_list(self) -> list[Any]:
        """Return the optimisers in the order of `configure_optimizers`."""
        optimizers = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def update(self, optimizer: Any, loss: Tensor, batch_idx: int, *, name: str) -> None:
        """Add the gradient of ``loss`` and, when a group of ``accumulate`` batches is complete, make a step."""
        num_batches = int(self.trainer.num_training_batches)
        group = batch_idx // self.accumulate * self.accumulate
        size = min(self.accumulate, num_batches - group)  # an epoch's last group may be smaller
        self.manual_backward(loss / size)
        self.log(f"train/{name}_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=1)
        if batch_idx + 1 < group + size:
            return
        if self.gradient_clip is not None:
            self.clip_gradients(optimizer, self.gradient_clip, "norm")
        optimizer.step()
        optimizer.zero_grad()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rates for this point of the training."""
        epoch = self.current_epoch + batch_idx / int(self.trainer.num_training_batches)
        for name, optimizer in zip(self.optimizer_names, self.optimizer_list(), strict=True):
            factor = self.schedules[name].factor(epoch)
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
            self.log(f"train/{name}_lr", group["lr"], on_step=False, on_epoch=True, batch_size=1)

    def uniforms(self, video_ids: Sequence[str], count: int, purpose: str) -> Tensor:
        """Return numbers in [0, 1), (B, count), that depend on seed, epoch, video and purpose alone."""
        u = keyed_uniforms(video_ids, count, seed=self.seed, epoch=self.current_epoch, purpose=purpose)
        return u.to(self.device)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Collect the scores of a batch of validation videos."""
        self.validation_metrics.update(self.predict(batch).exp(), batch["targets"])

    def on_validation_epoch_end(self) -> None:
        """Log ``val/top1, val/top5, val/mean_class, val/map``."""
        self.log_dict({f"val/{name}": value for name, value in self.validation_metrics.compute().items()})
        self.validation_metrics.reset()
