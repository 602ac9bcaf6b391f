"""Counts the videos that cannot be read during a training."""

from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console

from dsn_lightning.errors import UsageError


class BadVideos(pl.Callback):
    """Names each replaced video once, and ends the training when one process has met too many, or all have in an epoch.

    Args:
        limit: share of the training videos that may be bad, in [0, 1].
        known: number of training videos that were known to be bad before the training began.
        num_videos: number of the others.
    """

    def __init__(self, *, limit: float, known: int, num_videos: int) -> None:
        self.limit = limit
        self.known = known
        self.num_videos = num_videos
        self.named: set[str] = set()
        self.in_epoch: dict[str, str] = {}  # id -> reason

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reset the count."""
        self.in_epoch.clear()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch's bad videos."""
        self._name(batch)
        self.in_epoch |= dict(batch["bad_videos"])
        self._refuse_too_many(self.in_epoch, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the bad videos of all processes."""
        if trainer.world_size > 1:
            by_rank: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(by_rank, self.in_epoch)
            bad = {video_id: reason for found in by_rank for video_id, reason in found.items()}
            self._refuse_too_many(bad, trainer.current_epoch)

    def _refuse_too_many(self, bad: dict[str, str], epoch: int) -> None:
        total, count = self.known + self.num_videos, self.known + len(bad)
        if bad and count > self.limit * total:
            raise UsageError(
                f"epoch {epoch}: {count} of {total} training videos cannot be used, more than dataset.reading.max_bad="
                f"{self.limit} allows; the last one: {list(bad.values())[-1]}"
            )

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Name the batch's bad videos."""
        self._name(batch)

    def _name(self, batch: Any) -> None:
        for video_id, reason in batch["bad_videos"]:
            if video_id not in self.named:
                self.named.add(video_id)
                Console(stderr=True).print(f"bad video {video_id}: {reason}", soft_wrap=True, markup=False)
