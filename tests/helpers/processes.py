"""Runs a command's entry point in a fresh process, forked from one that has imported everything."""

import faulthandler
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

from dsn_lightning import cli

PRELOAD = [
    *cli.PRELOAD,
    "dsn_lightning.cli.prepare",
    "dsn_lightning.cli.cost",
    "wandb",
    "wandb.sdk.launch",
    "pandas",
    "torch.utils.tensorboard",
]
Environment = Mapping[str, str | None]  # None: not set
_UNCHANGED: Environment = {}
LONGEST = 800
"""Seconds; a command that takes longer is ended, and prints where it hung."""
_HUNG = f"Timeout ({timedelta(seconds=LONGEST)})!"  # faulthandler's words


def enter(command: str, arguments: tuple[str, ...], cwd: str, out: str, err: str, env: Environment) -> None:
    """Run the command with its working folder, arguments, environment and output."""
    for name, value in env.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))  # as a new interpreter would
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever handler the process of the tests has
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number, name in ((1, out), (2, err)):
        with open(name, "w") as file:
            os.dup2(file.fileno(), number)
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=2)
    os.chdir(cwd)
    sys.argv = [command, *arguments]
    import torch

    torch.set_num_threads(1)
    try:
        importlib.import_module(f"dsn_lightning.cli.{command.removeprefix('dsn-')}").main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def start(
    command: str, *arguments: str, cwd: Path, env: Environment = _UNCHANGED, output: Path | None = None
) -> BaseProcess:
    """Start ``command`` in ``cwd`` and return its process; what it prints goes to files there or in ``output``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    files = str((output or cwd) / "out"), str((output or cwd) / "err")
    process = context.Process(target=enter, args=(command, arguments, str(cwd), *files, env))
    process.start()
    return process


def call(
    command: str, *arguments: str, cwd: Path, expect: int | None = 0, env: Environment = _UNCHANGED
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` in ``cwd``; fail unless it exits with ``expect`` (None: whatever it likes)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = context.Process(target=enter, args=(command, arguments, str(cwd), str(out), str(err), env))
        process.start()
        process.join()
        done = subprocess.CompletedProcess(arguments, process.exitcode or 0, out.read_text(), err.read_text())
    assert _HUNG not in done.stderr, done.stderr
    assert expect is None or done.returncode == expect, done.stdout + done.stderr
    return done
