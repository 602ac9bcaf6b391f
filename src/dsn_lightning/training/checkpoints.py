"""Checkpoints of a training, and how it is stopped without losing work."""

import os
import signal
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.connectors import checkpoint_connector

from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.files import keep_as, replace_durably

_STOPPING = b"\nstopping after the current step or validation; Ctrl-C again stops at once\n"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file and renames it: a killed run leaves either the old or the new one.

    (Lightning writes to the system's temporary folder, from where a move may be a copy.)

    Args:
        previous_of: file -> the file that its content before the last save is kept in; None: it is not kept.
    """

    def __init__(self, previous_of: Mapping[Path, Path] | None = None) -> None:
        super().__init__()
        self.previous_of = dict(previous_of or {})
        self.folders: set[Path] = set()  # that checkpoints were saved in

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Save ``checkpoint`` to ``path``."""
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.partial")  # one process writes in a run's folder
        try:
            torch.save(checkpoint, partial)
            if file in self.previous_of and file.is_file():
                keep_as(file, self.previous_of[file])
            replace_durably(partial, file)
        finally:
            partial.unlink(missing_ok=True)
        self.folders.add(file.parent.resolve())

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Remove a checkpoint, but only beside one that was saved: Lightning takes the path from ``last.ckpt``."""
        file = Path(path).resolve()
        if file.parent in self.folders and file.suffix == ".ckpt":
            file.unlink(missing_ok=True)


def is_restoring(error: BaseException) -> bool:
    """Return whether Lightning raised an error while it restored the state of a training from a checkpoint."""
    frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = {code.co_name for code in frames if code.co_filename == checkpoint_connector.__file__}
    return any(name.startswith(("resume", "restore", "_restore")) for name in names)


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


class Stopped(Exception):  # noqa: N818 - not an error
    """Ends a training that has been saved."""


class LastCheckpoint(Checkpoint):
    """Writes ``last.ckpt``: after each epoch, every ``every_n_batches``, and before a training is stopped.

    SIGTERM, Ctrl-C and ``max_time`` stop the training, with `Stopped`, once the batches of a step are complete, or the
    validation after the last step of an epoch; a second Ctrl-C stops it at once. Several processes all stop after the
    same batch. (Lightning's own ``max_time`` would treat the rest of an epoch as done. Its handler of SIGTERM saves
    nothing and broadcasts in the middle of other collectives. KeyboardInterrupt can come anywhere, while some lock is
    held.)

    Args:
        file: where to write it.
        every_n_batches: None: only after epochs.
        max_time: seconds from the start of the training in this process; None: no limit.
    """

    def __init__(self, file: Path, *, every_n_batches: int | None = None, max_time: float | None = None) -> None:
        self.file = file
        self.every_n_batches = every_n_batches
        self.max_time = max_time
        self.received: signal.Signals | None = None
        self.ended_by: signal.Signals | None = None  # received by any of the processes
        self.started = 0.0

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 130 after Ctrl-C, 143 after SIGTERM, 0 without either."""
        number = self.ended_by or self.received
        return 128 + number if number else 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and handle Ctrl-C and SIGTERM; Lightning restores its handler of the latter."""
        self.started = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_signal)
            if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
                signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, _: Any) -> None:
        self.received = self.received or signal.Signals(number)  # a sweep sends SIGTERM after the terminal's Ctrl-C
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with suppress(OSError):  # Ctrl-C also ends the program that stderr is piped to
                os.write(2, _STOPPING)  # the signal may have interrupted a print

    def restore_ctrl_c(self) -> None:
        """Let Ctrl-C raise KeyboardInterrupt again, after the training."""
        if signal.getsignal(signal.SIGINT) == self._on_signal:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is due, and stop if requested."""
        assert isinstance(pl_module, Recognizer)
        done = batch_idx + 1
        if not pl_module.ends_group(batch_idx) or done == int(trainer.num_training_batches):
            return  # the end of the epoch saves too
        stop, every, before = self._should_stop(trainer), self.every_n_batches, done - pl_module.accumulate
        if stop or (every and done // every > before // every):  # a multiple lies in the batches of this step
            trainer.save_checkpoint(self.file)
        if stop:
            raise Stopped

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, and stop if requested and epochs remain."""
        trainer.save_checkpoint(self.file)
        if self._should_stop(trainer) and trainer.current_epoch + 1 < (trainer.max_epochs or 0):
            raise Stopped

    def _should_stop(self, trainer: pl.Trainer) -> bool:
        def any_rank(flag: bool) -> bool:
            return bool(trainer.strategy.reduce_boolean_decision(flag, all=False))

        if any_rank(self.received is not None):
            self.ended_by = signal.SIGINT if any_rank(self.received == signal.SIGINT) else signal.SIGTERM
        timed_out = self.max_time is not None and any_rank(time.monotonic() - self.started > self.max_time)
        return self.ended_by is not None or timed_out
