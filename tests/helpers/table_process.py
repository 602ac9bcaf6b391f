"""Runs experiments/table*.py in a process of its own, which may be killed."""

import faulthandler
import importlib
import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

from helpers.processes import LONGEST, PRELOAD

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


def load(name: str):
    """Import a file of ``experiments/``."""
    if str(EXPERIMENTS) not in sys.path:
        sys.path.insert(0, str(EXPERIMENTS))
    return importlib.import_module(name)


def enter(name: str, arguments: list[str], out: str) -> None:
    """Be the table's command."""
    import torch

    torch.set_num_threads(1)
    with open(out, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=2)
    module = load(name)
    try:
        sys.exit(load("reproduce.tables").main(module.TABLE, arguments))
    finally:
        sys.stdout.flush()


def start_table(name: str, arguments: list[str], out: Path) -> BaseProcess:
    """Start a table and return its process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(target=enter, args=(name, arguments, str(out)))
    process.start()
    return process
