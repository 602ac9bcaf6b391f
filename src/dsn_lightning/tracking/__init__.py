"""Loggers of runs: W&B and TensorBoard."""

from dsn_lightning.tracking.loggers import RunInfo, TensorBoardRun, Tracker, WandbRun

__all__ = ["RunInfo", "TensorBoardRun", "Tracker", "WandbRun"]
