"""What all commands share: usage errors in one line, exit codes, and the call of Hydra."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import NoReturn

from hydra.errors import InstantiationException
from omegaconf.errors import InterpolationResolutionError

from dsn_lightning.errors import UsageError


@contextmanager
def one_line_errors(command: str) -> Iterator[None]:
    """Print a `UsageError` in one line, and exit with code 2."""
    try:
        yield
    except UsageError as error:
        stop(command, str(error))
    except (InstantiationException, InterpolationResolutionError) as error:  # wrap errors of constructors and ${...}
        usage = _usage_error_behind(error)
        if usage is None:
            raise
        stop(command, str(usage))


def _usage_error_behind(error: BaseException) -> UsageError | None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UsageError):
        cause = cause.__cause__ or cause.__context__
    return cause


def stop(command: str, message: str) -> NoReturn:
    """Print one line and exit with code 2."""
    print(f"{command}: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def run_hydra(command: str, application: Callable[[], None], arguments: Sequence[str], *, stopped: str = "") -> None:
    """Run a Hydra application with these arguments; the only place that writes ``sys.argv``.

    After Ctrl-C it prints ``stopped`` and exits with code 130; if that is empty, KeyboardInterrupt is raised.
    """
    sys.argv = [command, *arguments]
    with ctrl_c_as_exit(command, stopped) if stopped else nullcontext():
        application()


@contextmanager
def ctrl_c_as_exit(command: str, stopped: str) -> Iterator[None]:
    """After Ctrl-C, print ``stopped`` and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"{command}: stopped; {stopped}", file=sys.stderr)
        sys.exit(130)
