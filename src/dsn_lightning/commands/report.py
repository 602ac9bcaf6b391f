"""dsn-report: any finished runs, sweeps and evaluations on one page."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dsn_lightning.errors import UsageError

_KEYS = ("output", "sheets", "statistics")


def arguments_of(given: Sequence[str]) -> argparse.Namespace:
    """Return ``folders``, ``output``, ``sheets`` and ``statistics``; ``key=value`` is taken for ``--key value``.

    Raises:
        SystemExit: with code 2 after one line that says what is wrong, with 0 after ``--help``.
    """
    parser = argparse.ArgumentParser(
        "dsn-report", description="Gathers finished runs, sweeps and evaluations into report.html, .md and .csv.",
        allow_abbrev=False, exit_on_error=False,
    )  # fmt: skip
    parser.add_argument(
        "folders", nargs="*", metavar="DIR", help="folder with runs, sweeps or evaluations in or below it"
    )
    parser.add_argument("--output", default="report", metavar="DIR", help="where it is written (default: report)")
    parser.add_argument(
        "--sheets", default="20", metavar="COUNT", help="evaluations whose clips are shown (default: 20)"
    )
    parser.add_argument(
        "--statistics", default="12", metavar="COUNT",
        help="groups of evaluations, all seeds together, whose differences are worked out (default: 12)",
    )  # fmt: skip
    words = []
    for word in given:
        key, is_assignment, value = word.partition("=")
        if is_assignment and key in _KEYS:
            words.append(f"--{key}={value}")
        elif is_assignment and key.isidentifier() and not Path(word).is_dir():
            raise UsageError(f"{key}: no such key; there are {', '.join(_KEYS)}")
        else:
            words.append(word)
    try:
        parsed, unknown = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UsageError(f"{error}; see dsn-report --help") from error
    if unknown:
        raise UsageError(f"{unknown[0]}: no such option; see dsn-report --help")
    for key in ("sheets", "statistics"):
        if not getattr(parsed, key).isdecimal():
            raise UsageError(f"{key}={getattr(parsed, key)}: must be a whole number of at least 0")
    return parsed


def report(given: Sequence[str]) -> None:
    """Do what a command line asks for, and print what was written.

    Raises:
        UsageError: a folder is not there or holds nothing, or the output cannot be written.
    """
    arguments = arguments_of(given)
    from dsn_lightning.report.collect import collect

    output = Path(arguments.output).expanduser()
    found = collect(arguments.folders)
    try:  # before what takes long
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise UsageError(f"output={arguments.output}: cannot be written to ({error.strerror or error})") from error
    from dsn_lightning.commands.comparing import compare_folders
    from dsn_lightning.report.page import make_report, write_report

    made = make_report(
        found,
        compare_folders,
        num_sheets=int(arguments.sheets),
        num_statistics=int(arguments.statistics),
        say=lambda text: print(text, flush=True),
    )
    troubled = f", {len(made.troubled)} not finished" if made.troubled else ""
    print(f"{len(made.runs)} runs{troubled}, {len(made.results)} rows of results, {len(made.sheets)} sheets of clips")
    for note in made.notes:
        print(f"note: {note}")
    for path in write_report(made, output):
        print(f"written: {path} ({path.stat().st_size / 1e6:.1f} MB)")
