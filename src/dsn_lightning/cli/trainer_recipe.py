"""Lightning's Trainer for a training, and the callbacks that follow it."""

import os
from functools import partial
from inspect import signature
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler

from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.config.added_keys import closest
from dsn_lightning.config.build_part import build_part, located
from dsn_lightning.config.process_counts import num_processes
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.trained import RECORD_KEY
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.errors import UsageError
from dsn_lightning.launch.process_rank import process_rank
from dsn_lightning.launch.processes import PROCESS_VARIABLE
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.status import store_warnings
from dsn_lightning.tracking.loggers import Tracker
from dsn_lightning.training.callbacks import BadVideos, EpochLog, EpochRows, RunProgress, Throughput
from dsn_lightning.training.checkpoints import AtomicCheckpointIO, CheckpointRecord
from dsn_lightning.training.learning_warnings import LearningWarnings
from dsn_lightning.training.network_gradients import NetworkDDPStrategy
from dsn_lightning.training.rate_test import RateTest
from dsn_lightning.training.weight_average import AveragedWeights


def make_callbacks(
    settings: Settings, data: SectionClipDataModule, record: dict[str, Any], tracker: Tracker
) -> list[Callback]:
    """Return what follows the training: figures, warnings, bad videos, progress, averaged weights, best checkpoint."""
    run, max_bad = RunFolder(settings.folder), data.bad_video_policy.max_bad
    callbacks: list[Callback] = [
        CheckpointRecord(RECORD_KEY, record),
        EpochLog(),
        LearningWarnings(
            num_classes=len(data.classes), store=partial(store_warnings, run), on_collapse=tracker.alert_collapse
        ),
        Throughput(),
        EpochRows(run.metrics_csv),
        BadVideos(limit=max_bad, known=len(data.bad["train"]), num_videos=len(data.videos("train"))),
        RunProgress(bar=settings.progress and process_rank() == 0, file=run.progress_json),
        *configured_callbacks(settings, has_val=bool(data.videos("val"))),
    ]
    if settings.schedule.lr_test:
        callbacks.append(RateTest())
    if settings.schedule.ema is not None:
        callbacks.append(AveragedWeights(decay=settings.schedule.ema))
    if data.videos("val"):  # its save_last=True writes only when the best one improves; hence LastCheckpoint
        name, metric = run.best_checkpoint.stem, f"val/{data.source.metric}"
        best = ModelCheckpoint(run.checkpoints, name, monitor=metric, mode="max", enable_version_counter=False)
        callbacks.append(best)
    return callbacks


def configured_callbacks(settings: Settings, *, has_val: bool) -> list[Callback]:
    """Build the callbacks of the group ``callbacks``."""
    found: list[Callback] = []
    for name, node in (settings.callbacks or {}).items():
        try:
            callback = build_part(node, f"callbacks.{name}")
        except UsageError:
            raise
        except (AttributeError, TypeError, ValueError, MisconfigurationException) as error:
            raise UsageError(f"callbacks.{name}: cannot be built ({error})") from error
        if not isinstance(callback, Callback):
            raise UsageError(
                f"callbacks.{name}: expected a Callback of PyTorch Lightning, got {type(callback).__name__}"
            )
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor.startswith("val/") and not has_val:
            raise UsageError(
                f"callbacks.{name}.monitor={monitor}: dataset={settings.dataset.name} has no held-out videos; choose "
                "another figure of metrics.csv, or hold videos out (dataset.val_fraction)"
            )
        if isinstance(callback, LearningRateMonitor) and not settings.logger:
            raise UsageError(f"callbacks.{name}: needs a logger: logger=wandb or logger=tensorboard")
        found.append(callback)
    return found


def check_trainer_flags(settings: Settings) -> None:
    """Refuse a flag that the Trainer does not have."""
    target = located(settings.trainer.flags.get("_target_"), "trainer")
    known = signature(target).parameters
    for name in settings.trainer.flags:
        if name != "_target_" and name not in known:
            raise UsageError(f"trainer.{name}: {target.__name__} has no such flag{closest(name, known)}")


def profiler(settings: Settings) -> Any:
    """Return the profiler of ``trainer.profiler``, whose report is ``profile`` in the run's folder, or None."""
    name = settings.trainer.flags.get("profiler")
    profilers = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
    if name is None or (isinstance(name, str) and name in profilers):
        return name and profilers[name](dirpath=settings.folder, filename="profile")
    raise UsageError(f"trainer.profiler={name}: must be {', '.join(profilers)} or null")


def make_trainer(settings: Settings, recognizer: Recognizer, callbacks: list[Callback], tracker: Tracker) -> pl.Trainer:
    """Return Lightning's Trainer for manual optimisation in one process or several.

    Raises:
        UsageError: Lightning refuses the value of a flag.
    """
    flags = dict(settings.trainer.flags)
    flags["strategy"] = NetworkDDPStrategy() if num_processes(settings.trainer) > 1 else "auto"
    # in a SLURM job Lightning would take SLURM's, in which our own processes do not exist
    cluster = [LightningEnvironment()] if PROCESS_VARIABLE in os.environ else []
    run = RunFolder(settings.folder)
    flags["profiler"] = profiler(settings)
    try:
        trainer: pl.Trainer = located(flags.pop("_target_"), "trainer")(
            **flags,
            max_epochs=settings.schedule.max_epochs,
            default_root_dir=str(settings.folder),
            logger=tracker.loggers,
            plugins=[AtomicCheckpointIO({run.last_checkpoint: run.previous_checkpoint}), *cluster],
            callbacks=callbacks,
            use_distributed_sampler=False,  # the data module shares the batches out
            enable_progress_bar=False,
            log_every_n_steps=1,
        )
    except (ImportError, MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"trainer: Lightning's Trainer refuses the value of a flag ({reason})") from error
    return trainer
