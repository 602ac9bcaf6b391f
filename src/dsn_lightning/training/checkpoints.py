"""What a training saves, when, and how it is stopped without losing anything."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from dsn_lightning.algorithms.recognizer import Recognizer

_STOPPING = b"\nstopping when this step, or this validation, is over and saved; Ctrl-C again stops at once\n"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there, so that a killed run leaves the old one or the new one.

    (Lightning writes into the system's temporary folder, from where a move may be a copy.)
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Save ``checkpoint`` to ``path``."""
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.partial")  # one process writes in a run's folder
        try:
            torch.save(checkpoint, partial)
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)


class CheckpointRecord(pl.Callback):
    """Stores ``record`` (plain dicts and lists) in every checkpoint under ``key``."""

    def __init__(self, key: str, record: dict[str, Any]) -> None:
        self.key = key
        self.record = record

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the record."""
        checkpoint[self.key] = self.record


class Stopped(Exception):  # noqa: N818 - nothing has gone wrong
    """The training has been saved and is not to go on."""


class LastCheckpoint(Checkpoint):
    """Writes ``last.ckpt``: after each epoch, every so many batches, and before a training is stopped.

    SIGTERM, Ctrl-C and ``max_time`` stop it, with `Stopped`, as soon as the batches of a step are complete, or the
    validation behind an epoch's last step; a second Ctrl-C stops it at once. In several processes all stop after the
    same batch. (Lightning has its own ``max_time``, which would treat the rest of an epoch as if it had been run, and
    its handler of SIGTERM saves nothing and broadcasts in the middle of other collectives. KeyboardInterrupt can come
    anywhere, while some lock is held.)

    Args:
        file: where to write it.
        every_n_batches: None writes only after epochs.
        max_time: seconds from the start of this process's training; None has no limit.
    """

    def __init__(self, file: Path, *, every_n_batches: int | None = None, max_time: float | None = None) -> None:
        self.file = file
        self.every_n_batches = every_n_batches
        self.max_time = max_time
        self.received: signal.Signals | None = None
        self.ended_by: signal.Signals | None = None  # what one of the processes has received
        self.started = 0.0

    @property
    def exit_code(self) -> int:
        """The command's: 130 after Ctrl-C, 143 after SIGTERM, 0 where neither came."""
        asked = self.ended_by or self.received
        return 128 + asked if asked else 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and take SIGTERM over from Lightning, which gives it back after the training, and Ctrl-C."""
        self.started = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_signal)
            if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
                signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, _: Any) -> None:
        self.received = self.received or signal.Signals(number)  # a sweep sends SIGTERM behind the terminal's Ctrl-C
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with suppress(OSError):  # Ctrl-C ends what stderr is piped to as well
                os.write(2, _STOPPING)  # print may be what was interrupted

    def give_back_ctrl_c(self) -> None:
        """Let Ctrl-C be a KeyboardInterrupt again, once the training has ended."""
        if signal.getsignal(signal.SIGINT) == self._on_signal:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time to, and stop if it was asked for."""
        assert isinstance(pl_module, Recognizer)
        done = batch_idx + 1
        if not pl_module.ends_group(batch_idx) or done == int(trainer.num_training_batches):
            return  # the epoch's end saves as well
        stop = self._is_to_stop(trainer)
        if stop or (self.every_n_batches and self._passed(done, pl_module.accumulate)):
            trainer.save_checkpoint(self.file)
        if stop:
            raise Stopped

    def _passed(self, done: int, group: int) -> bool:
        """Whether a multiple of ``every_n_batches`` lies in the last ``group`` batches."""
        assert self.every_n_batches is not None
        return done // self.every_n_batches > (done - group) // self.every_n_batches

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, and stop if it was asked for and there is more to train."""
        trainer.save_checkpoint(self.file)
        if self._is_to_stop(trainer) and trainer.current_epoch + 1 < (trainer.max_epochs or 0):
            raise Stopped

    def _is_to_stop(self, trainer: pl.Trainer) -> bool:
        def of_any(flag: bool) -> bool:
            return bool(trainer.strategy.reduce_boolean_decision(flag, all=False))

        if of_any(self.received is not None):
            self.ended_by = signal.SIGINT if of_any(self.received == signal.SIGINT) else signal.SIGTERM
        late = self.max_time is not None and of_any(time.monotonic() - self.started > self.max_time)
        return self.ended_by is not None or late
