"""The command-line programs, a file each: settings are read and checked there, before anything heavy is imported.

The work of a command is a recipe next to it, which reads from top to bottom.
"""

PRELOAD = ("dsn_lightning.cli.train_recipe", "dsn_lightning.cli.evaluate_recipe")
"""Modules that the jobs of sweeps and experiments need; see `dsn_lightning.launch.jobs.start_server`."""
