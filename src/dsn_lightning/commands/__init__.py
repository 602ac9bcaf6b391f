"""The command-line programs: thin, and the only modules that know Hydra."""

PRELOAD = ("dsn_lightning.commands.train", "dsn_lightning.commands.evaluate")
"""Modules that the jobs of sweeps and experiments need; see `dsn_lightning.launch.jobs.start_server`."""
