"""Lightning callbacks: what a checkpoint records, the progress of the whole run, the warning about a collapse."""

import csv
import io
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dsn_lightning.data.decoding import write_atomically
from dsn_lightning.dsn import DSN
from dsn_lightning.monitor import has_collapsed


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


class PolicyLog(pl.Callback):
    """Logs the policy's statistics at the end of each epoch, and warns when it has collapsed."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log ``train/policy_*`` and ``train/position_share_*``."""
        if not isinstance(pl_module, DSN) or not pl_module.monitor.update_called:
            return
        statistics = pl_module.monitor.compute()
        pl_module.monitor.reset()
        for position, share in enumerate(statistics["position_share"]):
            pl_module.log(f"train/position_share_{position}", share)
        for name in ("entropy", "reward", "right", "baseline", "advantage_std", "agreement"):
            pl_module.log(f"train/policy_{name}", statistics[name])
        if has_collapsed(statistics):
            position = int(statistics["position_share"].argmax())
            warnings.warn(
                f"epoch {trainer.current_epoch}: the policy has collapsed. It keeps clip {position} in "
                f"{float(statistics['position_share'][position]):.1%} of the sections with an entropy of "
                f"{float(statistics['entropy']):.4f}, so A = B, Eq. 11 has no gradient and the sampler has stopped "
                "learning. Remedy: start again with algorithm.exploration=0.1 or a smaller schedule.sampler_lr",
                stacklevel=2,
            )


class MetricsFile(pl.Callback):
    """Writes ``metrics.csv``: one row an epoch, with everything that was logged in it.

    The rows are part of every checkpoint, so a resumed run has each epoch once, wherever it was stopped. (Lightning's
    CSVLogger deletes the file when a run is resumed.)
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[str, float]] = []
        self.validated = False

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the rows of the run that is resumed."""
        self.rows = [dict(row) for row in state_dict["rows"]]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that this epoch's ``val/`` figures are its own."""
        self.validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's row."""
        if not trainer.is_global_zero:
            return
        row: dict[str, float] = {"epoch": trainer.current_epoch}
        for name, value in trainer.callback_metrics.items():
            if self.validated or not name.startswith("val/"):
                row[name] = float(value)
        self.validated = False
        self.rows.append(row)
        names = ["epoch", *sorted({name for row in self.rows for name in row} - {"epoch"})]
        out = io.StringIO()
        writer = csv.DictWriter(out, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.file, out.getvalue())


class RunProgress(pl.Callback):
    """One bar for the whole run, with the time that is left; and the same as a small file for other processes.

    Args:
        bar: draw the bar (on a terminal; elsewhere one line every few epochs).
        file: where to write ``{"epoch", "max_epochs", "seconds_per_epoch", "best_top1", "metrics"}`` after each epoch,
            or None.
    """

    def __init__(self, *, bar: bool, file: Path | None = None) -> None:
        self.console = Console(stderr=True)
        self.bar = bar
        self.file = file
        self.progress: Progress | None = None
        self.started = 0.0
        self.first_epoch = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and the bar."""
        self.started = time.monotonic()
        self.first_epoch = trainer.current_epoch  # not 0 in a run that is resumed
        if self.bar and self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("batches"),
                       TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn())  # fmt: skip
            self.progress = Progress(*columns, console=self.console)
            assert trainer.max_epochs is not None
            total = int(trainer.num_training_batches) * trainer.max_epochs
            done = int(trainer.num_training_batches) * trainer.current_epoch
            self.task = self.progress.add_task("epoch 1", total=total, completed=done)
            self.progress.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self.progress is not None:
            self.progress.update(self.task, advance=1, description=f"epoch {trainer.current_epoch + 1}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file; without a terminal, print a line now and then."""
        epoch, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        seconds = time.monotonic() - self.started
        rate = seconds / (epoch - self.first_epoch)
        if self.file is not None and trainer.is_global_zero:
            scores = [c.best_model_score for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
            best = next((float(score) for score in scores if score is not None), None)
            content = {"epoch": epoch, "max_epochs": total, "seconds_per_epoch": rate, "best_top1": best}
            write_atomically(self.file, json.dumps(content | {"metrics": metrics}))
        shown = "  ".join(f"{k} {metrics[k]:.3f}" for k in ("train/classifier_loss", "val/top1") if k in metrics)
        if self.progress is not None:
            self.progress.console.print(f"epoch {epoch}/{total}  {shown}")
        elif self.bar and (epoch % max(1, total // 10) == 0 or epoch == total):
            left = rate * (total - epoch)
            self.console.print(f"epoch {epoch}/{total}  {shown}  {seconds:.0f} s, {left:.0f} s left")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        if self.progress is not None:
            self.progress.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the terminal is left in order."""
        if self.progress is not None:
            self.progress.stop()
