"""Folders of runs and sweeps, and reading them into tables."""

from dsn_lightning.runs.reading import KEYS, find_runs, read_configs, read_histories, read_results
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.sweep_folder import SweepFolder
from dsn_lightning.runs.trials import read_trials

__all__ = [
    "KEYS",
    "RunFolder",
    "SweepFolder",
    "find_runs",
    "read_configs",
    "read_histories",
    "read_results",
    "read_trials",
]
