"""Runs a command's entry point in a fresh process that need not import everything anew."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing.process import BaseProcess
from pathlib import Path


def enter(
    command: str, arguments: tuple[str, ...], cwd: str, out: str, err: str, environment: dict[str, str] | None = None
) -> None:
    """Be the command: its working folder, arguments, environment, output and exit code."""
    os.environ.update(environment or {})
    for number, name in ((1, out), (2, err)):
        with open(name, "w") as file:
            os.dup2(file.fileno(), number)
    os.chdir(cwd)
    sys.argv = [command, *arguments]
    import torch

    from dsn_lightning.commands import cli

    torch.set_num_threads(1)
    try:
        {"dsn-train": cli.train, "dsn-evaluate": cli.evaluate}[command]()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def start(
    command: str, *arguments: str, cwd: Path, environment: dict[str, str] | None = None, output: Path | None = None
) -> BaseProcess:
    """Start ``command`` in ``cwd`` and return its process; what it prints goes to files there or in ``output``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dsn_lightning.commands.train", "dsn_lightning.commands.evaluate"])
    place = output or cwd
    arguments_of_enter = (command, arguments, str(cwd), str(place / "out"), str(place / "err"), environment)
    process = context.Process(target=enter, args=arguments_of_enter)
    process.start()
    return process


def call(command: str, *arguments: str, cwd: Path, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run ``command`` in ``cwd``; fail unless it exits with ``expect`` (None: whatever it likes)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dsn_lightning.commands.train", "dsn_lightning.commands.evaluate"])
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = context.Process(target=enter, args=(command, arguments, str(cwd), str(out), str(err)))
        process.start()
        process.join()
        done = subprocess.CompletedProcess(arguments, process.exitcode or 0, out.read_text(), err.read_text())
    assert expect is None or done.returncode == expect, done.stdout + done.stderr
    return done
