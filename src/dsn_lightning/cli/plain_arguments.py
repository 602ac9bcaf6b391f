"""Arguments of the commands without a configuration: options of argparse, which may also be written ``key=value``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from dsn_lightning.errors import UsageError


def parse_words(parser: argparse.ArgumentParser, words: Sequence[str], *, keys: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments; ``key=value`` is short for ``--key value``.

    Args:
        parser: with ``exit_on_error=False``; its ``prog`` is named in errors.
        words: of the command line.
        keys: options that may be written without hyphens.

    Raises:
        UsageError: an option is unknown or has no value.
    """
    try:
        arguments, unknown = parser.parse_known_args([_as_option(word, keys) for word in words])
    except argparse.ArgumentError as error:
        raise UsageError(f"{error}; see {parser.prog} --help") from error
    if unknown:
        raise UsageError(f"{unknown[0]}: no such option; see {parser.prog} --help")
    return arguments


def _as_option(word: str, keys: Sequence[str]) -> str:
    key, is_assignment, _ = word.partition("=")
    if is_assignment and key in keys:
        return f"--{word}"
    if is_assignment and key.isidentifier() and not Path(word).is_dir():
        raise UsageError(f"{key}: no such key; expected one of {', '.join(keys)}")
    return word
