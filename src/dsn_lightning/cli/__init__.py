"""The command-line programs, a file each: settings are read and checked there, before anything heavy is imported.

The work of a command is a recipe next to it, which reads from top to bottom.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
"""Threads of a CPU operation sleep where they wait for each other; read when PyTorch is imported.

Waiting threads otherwise keep the cores busy, which makes a step many times slower beside other work.
"""

PRELOAD = ("dsn_lightning.cli.train_recipe", "dsn_lightning.cli.evaluate_recipe")
"""Modules that the jobs of sweeps and experiments need; see `dsn_lightning.launch.jobs.start_server`."""
