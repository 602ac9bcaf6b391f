"""Reading files that another process may be writing, that a killed process left half-written, or that anybody made."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import yaml

from dsn_lightning.files import MAX_DEPTH, UnreadableFileError, check_nesting, parse_json, read_bounded, read_tail

MAX_CELLS = 10**7
"""Cells of a table of one file's rows, where each name that any row has is a column."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is installed
_LONG_NUMBER = re.compile(r"[-+]?[0-9][0-9_:.]{100,}")  # YAML also reads 1:1:1 (base 60), in quadratic time

_problems: ContextVar[dict[Path, str] | None] = ContextVar("problems", default=None)


@contextmanager
def noted_problems() -> Iterator[dict[Path, str]]:
    """Collect the files that cannot be read inside the block, in this thread: path -> reason."""
    found: dict[Path, str] = {}
    token = _problems.set(found)
    try:
        yield found
    finally:
        _problems.reset(token)


def note_problem(path: Path, reason: str) -> None:
    """Note that a file cannot be read; `noted_problems` collects it, otherwise nothing happens."""
    found = _problems.get()
    if found is not None:
        found.setdefault(path, reason)


def read_text(path: Path) -> str:
    """Return the text of a file; an empty one if the file cannot be read."""
    return _text(path, read_bounded)


def read_end(path: Path) -> str:
    """Return the last megabyte of a text file; an empty text if the file cannot be read."""
    return _text(path, lambda path: read_tail(path, 2**20))


def _text(path: Path, read: Callable[[Path], bytes]) -> str:
    try:
        return read(path).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except UnreadableFileError as error:
        note_problem(path, error.reason)
        return ""


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; None if it is missing, incomplete or beyond the limits of `parse_json`."""
    if text := read_text(path):
        try:
            return parse_json(text)
        except ValueError as error:
            note_problem(path, f"incomplete, or not JSON ({error})")
    return None


def without_too_many_cells(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a file, or none if a table of them would have more than `MAX_CELLS` cells."""
    if len({name for row in rows for name in row}) * len(rows) <= MAX_CELLS:
        return rows
    note_problem(path, f"a table of it would have more than {MAX_CELLS:,} cells")
    return []


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file; None if it is missing, incomplete or not plain YAML (see `parse_yaml`)."""
    text = read_text(path)
    try:
        return parse_yaml(text) if text.endswith("\n") else None
    except ValueError as error:
        note_problem(path, f"not plain YAML ({error})")
        return None


def parse_yaml(text: str) -> Any:
    """Return the content of a YAML text.

    >>> parse_yaml("{M: 3, gamma: 0.5}")
    {'M': 3, 'gamma': 0.5}

    Raises:
        ValueError: not YAML, or it has aliases, which expand without bounds, deep nesting or huge numbers.
    """
    try:
        depth = 0
        for event in yaml.parse(text, _LOADER):  # before values are built: libyaml crashes on deep nesting
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("aliases are not read")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ValueError(f"nested deeper than {MAX_DEPTH}")
            if isinstance(event, yaml.ScalarEvent) and _LONG_NUMBER.fullmatch(event.value):
                raise ValueError("a number of more than 100 digits")
        content = yaml.load(text, _LOADER)
    except (yaml.YAMLError, LookupError, AttributeError, TypeError) as error:  # the others from tags such as !!int ""
        raise ValueError(" ".join(str(error).split())) from None
    check_nesting(content)
    return content
