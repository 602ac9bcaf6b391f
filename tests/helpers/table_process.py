"""Runs experiments/table*.py here, or in a process of its own, which may be killed."""

import faulthandler
import importlib
import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

from conftest import NEEDLE
from helpers.processes import LONGEST, PRELOAD
from reproduce.paper_table import PaperTable
from reproduce.tables import main

TABLES = [f"table{n}" for n in range(1, 8)]
TINY = [
    *NEEDLE,
    "backbone=r3d_tiny",
    "weights=null",
    "schedule.max_epochs=2",
    "schedule.batch_size=6",
    "M=2",
    "N=2",
    "trainer.accelerator=cpu",
    "test.random_draws=2",
    "test.figures=false",
]
"""Overrides for a short run on the needle set."""


def definition(name: str) -> PaperTable:
    """Return the table of a file in ``experiments/``."""
    table: PaperTable = importlib.import_module(name).TABLE
    return table


def run_table(name: str, *arguments: str, **options) -> int:
    """Run a table's command line in this process and return its exit code."""
    return main(definition(name), list(arguments), **options)


def enter(name: str, arguments: list[str], out: str) -> None:
    """Run a table's command line in a process of its own."""
    import torch

    torch.set_num_threads(1)
    with open(out, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=2)
    try:
        sys.exit(run_table(name, *arguments))
    finally:
        sys.stdout.flush()


def start_table(name: str, arguments: list[str], out: Path) -> BaseProcess:
    """Start a table and return its process; what it prints goes to ``out``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(target=enter, args=(name, arguments, str(out)))
    process.start()
    return process
