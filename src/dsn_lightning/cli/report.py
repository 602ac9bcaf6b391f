"""dsn-report: finished runs, sweeps and evaluations on one page."""

import argparse
import sys
import tempfile
from collections.abc import Sequence

from dsn_lightning.cli.application import ctrl_c_as_exit, one_line_errors
from dsn_lightning.cli.plain_arguments import parse_words
from dsn_lightning.config.quick_imports import quick_imports
from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import links_stay_inside, user_path

COMMAND = "dsn-report"

_KEYS = ("output", "sheets", "statistics")


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Return ``folders``, ``output``, ``sheets`` and ``statistics``; ``key=value`` is short for ``--key value``."""
    arguments = parse_words(_parser(), words, keys=_KEYS)
    for key in ("sheets", "statistics"):
        value = getattr(arguments, key)
        if not value.isdecimal():
            raise UsageError(f"{key}: expected an integer >= 0, got {value}")
        setattr(arguments, key, int(value))
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        COMMAND,
        description="Gathers finished runs, sweeps and evaluations into report.html, .md and .csv.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("folders", nargs="*", metavar="DIR", help="folder that holds runs, sweeps or evaluations")
    parser.add_argument("--output", default="report", metavar="DIR", help="folder to write to (default: report)")
    sheets = "evaluations whose clips are shown (default: 20)"
    parser.add_argument("--sheets", default="20", metavar="COUNT", help=sheets)
    statistics = "groups of evaluations, all seeds together, whose differences are computed (default: 12)"
    parser.add_argument("--statistics", default="12", metavar="COUNT", help=statistics)
    plug_ins = "folder with the configurations of your plug-ins"
    parser.add_argument("--config-dir", action="append", default=[], metavar="DIR", help=plug_ins)
    return parser


def report(words: Sequence[str]) -> None:
    """Run dsn-report with these arguments, and print what was written."""
    arguments = parse_arguments(words)
    with links_stay_inside([user_path(folder) for folder in arguments.folders]):
        _report(arguments)


def _report(arguments: argparse.Namespace) -> None:
    from dsn_lightning.config.compose import add_plug_ins
    from dsn_lightning.report.collect import collect

    add_plug_ins(arguments.config_dir)

    output = user_path(arguments.output)
    found = collect(arguments.folders)
    try:  # before the slow part
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise UsageError(f"output={arguments.output}: cannot be written to ({error.strerror or error})") from error
    with quick_imports():
        from dsn_lightning.config.comparisons import compare_folders  # takes seconds
        from dsn_lightning.report.page import make_report, write_report

    made = make_report(
        found,
        compare_folders,
        num_sheets=arguments.sheets,
        num_statistics=arguments.statistics,
        announce=lambda text: print(printable(text), flush=True),
    )
    troubled = f", {len(made.troubled)} not finished" if made.troubled else ""
    print(f"{len(made.runs)} runs{troubled}, {len(made.results)} rows of results, {len(made.sheets)} contact sheets")
    for note in made.notes:
        print(printable(f"note: {note}"))
    for path in write_report(made, output):
        print(f"written: {printable(path)} ({path.stat().st_size / 1e6:.1f} MB)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; without arguments, with those of the process."""
    with ctrl_c_as_exit(COMMAND, "run the same command again"), one_line_errors(COMMAND):
        report(sys.argv[1:] if arguments is None else arguments)
