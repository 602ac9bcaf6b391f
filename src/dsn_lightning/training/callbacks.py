"""Lightning callbacks that log figures, show the progress of the run and count the videos that cannot be read."""

import json
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.errors import UsageError
from dsn_lightning.files import write_atomically
from dsn_lightning.text_tables import PrintableConsole, csv_text


class EpochLog(pl.Callback):
    """Logs the epoch's means and the policy's statistics."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log ``train/*``: losses, learning rates, gradient norms, ``policy_*`` and ``position_share_*``.

        Where steps may be left out, ``train/NAME_skipped_steps`` are those of the optimiser NAME so far.
        """
        if not isinstance(pl_module, Recognizer):
            return
        pl_module.log_dict(pl_module.means.compute(), logger=False)
        pl_module.means.reset()
        if pl_module.steps.skips:
            for name in pl_module.optimizer_names:
                pl_module.log(f"train/{name}_skipped_steps", float(pl_module.steps.skipped[name]), logger=False)
        if not isinstance(pl_module, DSN) or trainer.current_epoch < pl_module.warmup_epochs:
            return
        statistics = pl_module.monitor.compute()
        pl_module.monitor.reset()
        for position, share in enumerate(statistics["position_share"]):
            pl_module.log(f"train/position_share_{position}", share, logger=False)
        for name in ("entropy", "reward", "right", "baseline", "advantage_std", "agreement"):
            pl_module.log(f"train/policy_{name}", statistics[name], logger=False)


class Throughput(pl.Callback):
    """Logs ``time/videos_per_second``, over all processes, and ``time/loader_wait``, the share of time without data."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; an epoch that is resumed midway has no start event."""
        self._start()

    def _start(self) -> None:
        self.started = self.waiting_since = time.perf_counter()
        self.waited, self.videos = 0.0, 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Add the time that the batch was waited for."""
        self.waited += time.perf_counter() - self.waiting_since

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch's videos."""
        self.videos += len(batch["targets"])
        self.waiting_since = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log both figures; the clock stopped with the last batch, before the validation."""
        seconds = self.waiting_since - self.started
        pl_module.log("time/videos_per_second", self.videos * trainer.world_size / seconds, logger=False)
        pl_module.log("time/loader_wait", self.waited / seconds, logger=False)


class EpochRows(pl.Callback):
    """Writes ``metrics.csv``: one row for each epoch, with everything that was logged in it; all loggers get the row.

    They also get the best value so far of each ``val/`` figure, such as ``val/top1_best``. Their step is
    `Recognizer.batches_seen`. (Lightning gives loggers an epoch's figures after all callbacks, and one may
    stop the training.)

    Times (``time/*``) depend on the machine; everything else is reproducible. The rows are part of every checkpoint, so
    a resumed run has each epoch once, wherever it was stopped. (Lightning's CSVLogger deletes the file then.)
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[str, float]] = []
        self.validated = False

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows of the run that is resumed."""
        self.rows = [dict(row) for row in state_dict["rows"]]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that the ``val/`` figures belong to this epoch."""
        self.validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the row of the epoch."""
        if not trainer.is_global_zero:
            return
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row = {n: value for n, value in logged.items() if self.validated or not n.startswith("val/")}
        self.validated = False
        self.rows.append({"epoch": trainer.current_epoch} | row)
        assert isinstance(pl_module, Recognizer)
        best = {f"{n}_best": max(r[n] for r in self.rows if n in r) for n in self.rows[-1] if n.startswith("val/")}
        for logger in trainer.loggers:
            logger.log_metrics(self.rows[-1] | best, pl_module.batches_seen)
            logger.save()
        names = ["epoch", *sorted({name for row in self.rows for name in row} - {"epoch"})]
        write_atomically(self.file, csv_text(self.rows, names))


class RunProgress(pl.Callback):
    """One progress bar for the whole run, with the remaining time, and a small file with the same for other processes.

    Args:
        bar: show the bar on a terminal, or a line every few epochs elsewhere.
        file: gets ``{"epoch", "max_epochs", "seconds_per_epoch", "best_value", "best_of", "metrics"}`` after each
            epoch; ``best_of`` names the figure whose best value that is.
    """

    def __init__(self, *, bar: bool, file: Path | None = None) -> None:
        self.console = PrintableConsole(stderr=True)
        self.bar = bar
        self.file = file
        self.progress: Progress | None = None
        self.started = 0.0
        self.first_epoch = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and show the bar."""
        self.started = time.monotonic()
        self.first_epoch = trainer.current_epoch  # not 0 in a resumed run
        if self.bar and self.console.is_terminal:
            count = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("batches"))
            times = (TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn())
            self.progress = Progress(*count, *times, console=self.console)
            assert trainer.max_epochs is not None
            total = int(trainer.num_training_batches) * trainer.max_epochs
            done = int(trainer.num_training_batches) * trainer.current_epoch
            self.task = self.progress.add_task("epoch 1", total=total, completed=done)
            self.progress.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance the bar."""
        if self.progress is not None:
            self.progress.update(self.task, advance=1, description=f"epoch {trainer.current_epoch + 1}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file; without a terminal, print a line every few epochs."""
        epoch, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        seconds = time.monotonic() - self.started
        rate = seconds / (epoch - self.first_epoch)
        if self.file is not None and trainer.is_global_zero:
            saved = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
            found = [(float(c.best_model_score), c.monitor) for c in saved if c.best_model_score is not None]
            best, best_of = found[0] if found else (None, None)
            content = {"epoch": epoch, "max_epochs": total, "seconds_per_epoch": rate}
            write_atomically(
                self.file, json.dumps(content | {"best_value": best, "best_of": best_of, "metrics": metrics})
            )
        formats = {"train/classifier_loss": ".3f", "val/top1": ".1%"}
        shown = "  ".join(f"{name} {metrics[name]:{form}}" for name, form in formats.items() if name in metrics)
        if self.progress is not None:
            self.progress.console.print(f"epoch {epoch}/{total}  {shown}")
        elif self.bar and (epoch % max(1, total // 10) == 0 or epoch == total):
            remaining = rate * (total - epoch)
            self.console.print(f"epoch {epoch}/{total}  {shown}  {seconds:.0f} s, {remaining:.0f} s remaining")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        if self.progress is not None:
            self.progress.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar, which restores the terminal."""
        if self.progress is not None:
            self.progress.stop()


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
                PrintableConsole(stderr=True).print(f"bad video {video_id}: {reason}", soft_wrap=True, markup=False)
