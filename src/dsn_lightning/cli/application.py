"""What all commands share: usage errors in one line, exit codes, and the call of Hydra."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException, OverrideParseException
from omegaconf.errors import InterpolationResolutionError

from dsn_lightning.cli.help_text import help_text
from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import user_path
from dsn_lightning.launch.processes import import_nothing_from_working_folder
from dsn_lightning.runs.machine_faults import fault_of


@contextmanager
def one_line_errors(command: str) -> Iterator[None]:
    """Print a `UsageError` or a fault of the machine (`fault_of`) in one line, and exit with code 2."""
    try:
        yield
    except UsageError as error:
        stop(command, str(error))
    except (InstantiationException, InterpolationResolutionError) as error:  # wrap errors of constructors and ${...}
        usage = _usage_error_behind(error)
        if usage is None:
            raise
        stop(command, str(usage))
    except Exception as error:
        fault = fault_of(error)
        if fault is None:
            raise
        stop(command, str(fault))


def _usage_error_behind(error: BaseException) -> UsageError | None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UsageError):
        cause = cause.__cause__ or cause.__context__
    return cause


def stop(command: str, message: str) -> NoReturn:
    """Print one line and exit with code 2."""
    print(f"{command}: error: {printable(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(2)


def check_checkpoints(named: Mapping[str, str | None]) -> None:
    """Refuse checkpoints that do not exist, by the key that names them, before PyTorch is loaded to read the others."""
    for key, path in named.items():
        if path is not None and not user_path(path).exists():
            raise UsageError(f"{key}={path}: no such checkpoint file")


def check_quotes(arguments: Sequence[str]) -> None:
    """Refuse an override that Hydra can only read with quotes around its value, and show them.

    Raises:
        UsageError: such as for ``weights=runs/M=1/last.ckpt``.
    """
    before = ""
    for argument in arguments:
        key, is_assignment, value = argument.partition("=")
        is_override = is_assignment and not argument.startswith("-") and before not in _FLAGS_WITH_VALUE
        quoted = f"{key}='{value}'"
        if is_override and not _is_readable(argument) and _is_readable(quoted):
            raise UsageError(f'{argument}: a value with such characters needs quotes; on a command line: "{quoted}"')
        before = argument


_FLAGS_WITH_VALUE = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--package", "-p")


def _is_readable(override: str) -> bool:
    try:
        OverridesParser.create().parse_overrides([override])
    except OverrideParseException:
        return False
    return True


def run_hydra(command: str, application: Callable[[], None], arguments: Sequence[str], *, stopped: str) -> None:
    """Run a Hydra application with these arguments, or print its help; the only place that writes ``sys.argv``.

    The processes that it starts import no module from the working folder, which may hold foreign files.

    After Ctrl-C it prints ``stopped`` and exits with code 130.
    """
    with one_line_errors(command):
        check_quotes(arguments)
    text = help_text(command, arguments)
    if text is not None:
        print(text)
        return
    sys.argv = [command, *arguments]
    with one_line_errors(command):
        import_nothing_from_working_folder()
    with ctrl_c_as_exit(command, stopped):
        application()


@contextmanager
def ctrl_c_as_exit(command: str, stopped: str) -> Iterator[None]:
    """After Ctrl-C, print ``stopped`` and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(printable(f"{command}: stopped; {stopped}"), file=sys.stderr)
        sys.exit(130)
