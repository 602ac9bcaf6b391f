"""Folders of runs: reading them into tables."""

from dsn_lightning.runs.reading import KEYS, find_runs, read_configs, read_histories, read_results

__all__ = ["KEYS", "find_runs", "read_configs", "read_histories", "read_results"]
