"""Tables of texts: rendered for the terminal, as Markdown and as CSV, in this one place."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as TerminalTable
from rich.text import Text


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
        table = TerminalTable(title=Text(self.title) if self.title else None, title_justify="left")
        for i, name in enumerate(self.header):
            justify = "right" if self._holds_figures(i) else "left"
            table.add_column(Text(name), justify=justify, no_wrap=not self.fold, overflow="fold")  # type: ignore[arg-type]
        for row in self.rows:
            table.add_row(*map(Text, row))
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
        lines = [self.header, rule, *self.rows]
        return "".join(f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |\n" for line in lines)


@dataclass(frozen=True)
class _AsWideAsItsTexts:
    """A table that is not narrowed to the width of the console."""

    table: TerminalTable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unlimited = options.update(max_width=100_000)
        yield from console.render(
            self.table, options.update(width=console.measure(self.table, options=unlimited).maximum)
        )


def percent(mean: float | None, spread: float | None = None) -> str:
    """Return a rate in percent, with its spread if that is known.

    >>> percent(0.595), percent(0.595, 0.003), percent(None)
    ('59.5', '59.5 ± 0.3', '-')
    """
    return "-" if mean is None else f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def csv_text(records: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    r"""Return records as CSV with a header, by default of all keys in the order of their first appearance.

    None becomes an empty cell.

    >>> csv_text([{"M": 3, "top1": 0.5}, {"M": 1, "top1": None}])
    'M,top1\n3,0.5\n1,\n'
    """
    lines = list(records)
    names = list(columns) if columns is not None else list(dict.fromkeys(name for line in lines for name in line))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()
