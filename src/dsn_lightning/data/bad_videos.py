"""Keeps account of the videos that could not be read while training."""

from typing import Any

import pytorch_lightning as pl
from rich.console import Console

from dsn_lightning.errors import UsageError


class BadVideos(pl.Callback):
    """Names each video that had to be replaced, once, and ends the training where there are too many in an epoch.

    Args:
        limit: share of the training videos that may be bad, in [0, 1].
        known: how many were known to be bad before the training began.
        num_videos: how many were not.

    Raises:
        UsageError: in a process whose videos of an epoch, with those known before, exceed the limit.
    """

    def __init__(self, *, limit: float, known: int, num_videos: int) -> None:
        self.limit = limit
        self.known = known
        self.num_videos = num_videos
        self.named: set[str] = set()
        self.in_epoch: set[str] = set()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count anew."""
        self.in_epoch.clear()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch's bad videos."""
        self._name(batch)
        self.in_epoch |= {video_id for video_id, _ in batch["bad_videos"]}
        total = self.known + self.num_videos
        if self.in_epoch and self.known + len(self.in_epoch) > self.limit * total:
            raise UsageError(
                f"epoch {trainer.current_epoch}: {self.known + len(self.in_epoch)} of {total} training videos cannot "
                f"be used, more than dataset.reading.max_bad={self.limit} allows; the last one: "
                f"{batch['bad_videos'][-1][1]}"
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
