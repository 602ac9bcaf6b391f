"""The console scripts: a command as the program of its process, which ends as soon as its work is done.

Python takes all objects of a process apart before it ends, which takes two seconds after a training.
"""

import atexit
import os
import sys
import threading
from functools import partial
from importlib import import_module


def run_command(command: str) -> None:
    """Run ``main`` of the module of a command, then end the process with its exit code."""
    try:
        import_module(f"dsn_lightning.cli.{command}").main()
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        end_process(end.code or 0)
    else:
        end_process(0)


def end_process(code: int) -> None:
    """End this process as `multiprocessing` ends its own: after the functions of `atexit`, without further clean-up.

    It ends as any other program if threads are still at work, or if its output cannot be written.
    """
    if not any(thread.is_alive() and not thread.daemon for thread in _other_threads()):
        atexit._run_exitfuncs()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):  # closed
            sys.exit(code)
        os._exit(code)
    sys.exit(code)


def _other_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread is not threading.current_thread()]


train, evaluate, predict, export, prepare, cost, report, dashboard = (
    partial(run_command, command)
    for command in ("train", "evaluate", "predict", "export", "prepare", "cost", "report", "dashboard")
)
