"""Tables of texts, rendered for the terminal, as Markdown and as CSV, and the console that prints them."""

import csv
import html
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table as TerminalTable
from rich.text import Text

from dsn_lightning.errors import printable

# where a spreadsheet may see a cell begin: some split at semicolons or tabs, even inside quotes;
# apostrophes before the sign are matched as well, so that removing one restores the text
_FORMULA = re.compile(r"(?:^|(?<=[;\t]))(?='*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
_ADDED_APOSTROPHE = re.compile(f"{_FORMULA.pattern}'")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|-inf")


class PrintableConsole(Console):
    """A rich console for texts from files: a terminal does not obey them, see `printable`."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield what is printed, with escapes in place of control characters in the texts."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


@dataclass(frozen=True)
class TextTable:
    """A header and rows of texts."""

    header: Sequence[str]  #: titles of the columns
    rows: Sequence[Sequence[str]]  #: a text for each column
    #: leading columns that hold names, aligned to the left; the others hold figures, aligned to the right
    num_names: int = 1
    title: str = ""  #: shown above the table in the terminal
    fold: bool = False  #: wrap long texts in the terminal instead of keeping each on one line
    #: whether each column holds figures, where names do not come first; replaces ``num_names``
    numbers: Sequence[bool] = ()

    def _holds_figures(self, column: int) -> bool:
        return self.numbers[column] if self.numbers else column >= self.num_names

    def terminal(self) -> TerminalTable:
        """Return the table for a rich console; texts are shown literally, brackets included."""
        table = TerminalTable(title=_literal(self.title) if self.title else None, title_justify="left")
        for i, name in enumerate(self.header):
            justify = "right" if self._holds_figures(i) else "left"
            table.add_column(_literal(name), justify=justify, no_wrap=not self.fold, overflow="fold")  # type: ignore[arg-type]
        for row in self.rows:
            table.add_row(*map(_literal, row))
        return table

    def print(self, console: Console) -> None:
        """Print the table; unless long texts are wrapped, it is as wide as its texts, also on a narrower terminal."""
        console.print(self.terminal() if self.fold else _AsWideAsItsTexts(self.terminal()), crop=False)

    def markdown(self) -> str:
        r"""Return the table in Markdown, each line ended.

        >>> print(TextTable(["row", "top-1"], [["DSN", "59.5"]]).markdown(), end="")
        | row | top-1 |
        | --- | ---: |
        | DSN | 59.5 |
        """
        rule = ["---:" if self._holds_figures(i) else "---" for i in range(len(self.header))]
        lines = [map(printable, line) for line in (self.header, rule, *self.rows)]
        return "".join(f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |\n" for line in lines)


def _literal(text: str) -> Text:
    return Text(printable(text))


@dataclass(frozen=True)
class _AsWideAsItsTexts:
    """A table that is not narrowed to the width of the console."""

    table: TerminalTable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unlimited = options.update(max_width=100_000)
        yield from console.render(
            self.table, options.update(width=console.measure(self.table, options=unlimited).maximum)
        )


def escape_markdown(text: str) -> str:
    r"""Return the text such that Markdown shows it literally, in one line.

    >>> print(escape_markdown("<b>a|b</b>"))
    &lt;b&gt;a\|b&lt;/b&gt;
    """
    return escape_cell(text).replace("|", "\\|")


def escape_cell(text: str) -> str:
    """Escape all but the vertical bar, which `TextTable.markdown` escapes itself."""
    escaped = {ord(character): f"\\{character}" for character in "\\*`[]"}  # an underscore in a word means nothing
    return " ".join(html.escape(printable(text), quote=False).translate(escaped).split())


def percent(mean: float | None, spread: float | None = None) -> str:
    """Return a rate in percent, with its spread if that is known.

    >>> percent(0.595), percent(0.595, 0.003), percent(None)
    ('59.5', '59.5 ± 0.3', '-')
    """
    return "-" if mean is None else f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def count_text(count: float | None) -> str:
    """Return a count, or a mean of counts with one decimal place.

    >>> count_text(6), count_text(4.25), count_text(None)
    ('6', '4.2', '-')
    """
    return "-" if count is None else f"{count:.1f}" if isinstance(count, float) else str(count)


def csv_text(records: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    r"""Return records as CSV with a header, by default of all keys in the order of their first appearance.

    None becomes an empty cell. A text that a spreadsheet would take for a formula gets an apostrophe in front, also
    after a semicolon or a tab, at which some split; `csv_records` removes it again. Numbers stay as they are.

    >>> csv_text([{"M": 3, "top1": 0.5}, {"M": 1, "top1": None}])
    'M,top1\n3,0.5\n1,\n'
    >>> csv_text([{"video": "-3B32lodo2M", "gain": -0.5}, {"video": "=1+1", "gain": "-0.5"}])
    "video,gain\n'-3B32lodo2M,-0.5\n'=1+1,-0.5\n"
    """
    lines = [{name: _without_formula(value) for name, value in line.items()} for line in records]
    names = list(columns) if columns is not None else list(dict.fromkeys(name for line in lines for name in line))
    out = io.StringIO()
    end = "\r\n;\t"  # cells with one of these characters are quoted
    writer = csv.DictWriter(out, names, lineterminator=end)
    text = []
    for line in ({name: _without_formula(name) for name in names}, *lines):
        writer.writerow(line)
        text.append(out.getvalue().removesuffix(end) + "\n")
        out.seek(0)
        out.truncate()
    return "".join(text)


def csv_records(text: str) -> Iterator[dict[str, str]]:
    r"""Yield the records of a text that `csv_text` wrote, all values as texts; a line's missing cells are left out.

    >>> list(csv_records("video,M\n'-3B32lodo2M,3\n"))
    [{'video': '-3B32lodo2M', 'M': '3'}]

    Raises:
        csv.Error: a line is no CSV.
    """
    lines = csv.reader(io.StringIO(text, newline=""))
    names = [_as_it_was(name) for name in next(lines, ())]
    for line in lines:
        if line:  # csv.DictReader would fill short lines, which takes lines * columns
            yield {name: _as_it_was(value) for name, value in zip(names, line, strict=False)}


def _without_formula(value: Any) -> Any:
    """Return a cell that no spreadsheet evaluates."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    return _FORMULA.sub("'", value)


def _as_it_was(cell: str) -> str:
    return _ADDED_APOSTROPHE.sub("", cell)
