"""Answers for videos through Lightning's prediction loop: its processes share the videos, each once."""

import signal
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy
from torch.utils.data import DataLoader

from dsn_lightning.prediction.answer import Prediction
from dsn_lightning.prediction.answer_parts import LineParts
from dsn_lightning.prediction.output_folder import OutputFolder
from dsn_lightning.prediction.video_files import FilePredictor

LONGEST_WAIT = timedelta(days=365)
"""For the slowest process: the others wait for it at the end, and videos differ in length."""


class VideoShares(pl.LightningDataModule):
    """The videos that have no answer yet, shared out without padding: process r of W gets every W-th from number r.

    Args:
        videos: all paths that are asked for.
        output: its answers, merged or not, are not computed again.
        announce: called in each process with these shares when it is known what is left.
    """

    def __init__(
        self, videos: Sequence[str], output: OutputFolder, announce: Callable[["VideoShares"], object]
    ) -> None:
        super().__init__()
        self.prepare_data_per_node = False  # all machines share the folder
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.videos = videos
        self.output = output
        self.parts = LineParts(output.parts)
        self.announce = announce
        self.left: list[str] = []

    def prepare_data(self) -> None:
        """Remove parts that are no answers of this folder's settings; only the first process does it."""
        if self.output.unfinished_engine() is None:
            self.parts.close()
        self.output.mark_unfinished("lightning")

    def setup(self, stage: str) -> None:
        """Find out what is left: the first process does, as the files of a folder may change meanwhile."""
        assert self.trainer is not None
        left: list[str] = []
        if self.trainer.is_global_zero:
            done = {*self.output.done(), *self.parts.index()}
            left = [video for video in self.videos if video not in done]
        self.left = self.trainer.strategy.broadcast(left)
        self.announce(self)

    @property
    def share(self) -> range:
        """The positions in `left` of the videos of this process."""
        assert self.trainer is not None
        return range(self.trainer.global_rank, len(self.left), self.trainer.world_size)

    def predict_dataloader(self) -> DataLoader[str]:
        """Return this process's share, one path at a time."""
        return DataLoader(self.left, batch_size=1, sampler=self.share)  # type: ignore[arg-type]


class VideoAnswers(pl.LightningModule):
    """Answers for the videos of a process, and adds each line to the file of this process.

    Args:
        answer: knows the networks, which move to the device of the process.
        parts: where the lines go.
        advance: called after each answer.
    """

    def __init__(self, answer: FilePredictor, parts: LineParts, advance: Callable[[], Any]) -> None:
        super().__init__()
        self.answer = answer
        self.network = answer.predictor.model
        self.parts = parts
        self.advance = advance

    def on_predict_start(self) -> None:
        """Open the file, and let SIGTERM end the process, as every line is on the disk; Lightning would ignore it."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.parts.begin(self.global_rank)

    def predict_step(self, batch: Sequence[str], batch_idx: int) -> Prediction:
        """Answer for the video of a batch."""
        (path,) = batch
        answer = self.answer(path)
        self.parts.add(self.global_rank, answer)
        self.advance()
        return answer


def prediction_trainer(*, accelerator: str, devices: Any, num_nodes: int, processes: int, **flags: Any) -> pl.Trainer:
    """Return a Trainer that only predicts; its ``processes`` on all nodes together wait for each other."""
    return pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=DDPStrategy(timeout=LONGEST_WAIT) if processes > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # `VideoShares` shares the videos out
        **flags,
    )
