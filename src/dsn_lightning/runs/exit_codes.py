"""Exit codes of commands, and SIGTERM as an orderly exit."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from dsn_lightning.errors import UsageError
from dsn_lightning.runs.machine_faults import fault_of

STOPPED_BY_CTRL_C = 128 + signal.SIGINT
"""Exit code of a command that Ctrl-C ended."""
STOPPED_BY_SIGTERM = 128 + signal.SIGTERM
"""Exit code of a command that SIGTERM ended."""


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a command that ends with ``error``.

    It is 2 for usage errors and faults of the machine (`fault_of`), 130 for Ctrl-C, 143 for SIGTERM.

    >>> [exit_code_of(e) for e in (ValueError(), UsageError(), KeyboardInterrupt(), SystemExit(3), SystemExit())]
    [1, 2, 130, 3, 0]
    """
    if isinstance(error, UsageError) or isinstance(error.__cause__, UsageError):  # Hydra wraps errors of constructors
        return 2
    if isinstance(error, KeyboardInterrupt):
        return STOPPED_BY_CTRL_C
    if _is_sigterm(error):
        return STOPPED_BY_SIGTERM
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    return 1 if fault_of(error) is None else 2


def _is_sigterm(error: BaseException) -> bool:
    """Whether Lightning has raised the error after SIGTERM; it is not imported for the answer, which takes seconds."""
    exceptions = sys.modules.get("pytorch_lightning.utilities.exceptions")
    return exceptions is not None and isinstance(error, exceptions.SIGTERMException)


@contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM end the process through its ``finally`` clauses, with exit code 143."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(signum: int, frame: Any) -> NoReturn:
    signal.signal(signum, signal.SIG_IGN)  # a second one must not interrupt the clean-up
    raise SystemExit(128 + signum)
