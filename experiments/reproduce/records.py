"""A table of the paper with our figures beside its own: plain records, and how they are shown. Pure functions."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.markup import escape
from rich.table import Table

METRICS = {"top1": "top-1", "top5": "top-5", "map": "mAP"}


@dataclass(frozen=True)
class Record:
    """One figure of a table: a row, a data set, a metric. Rates are fractions in [0, 1].

    Attributes:
        table: table1, fig4, ...
        row: the paper's name for it, or ours where ``kind`` is ``extra``.
        kind: ``paper`` (a row of the paper's own systems), ``literature`` (another system's, as the paper gives it) or
            ``extra`` (ours alone).
        dataset: what ours was measured on.
        metric: top1, top5 or map.
        paper: the paper's figure for the same row, data set and metric.
        ours: one value a seed (the mean over splits, where the table has several).
        seeds: of these values.
        status: ``run``, ``partly run`` (seeds or splits are missing), ``failed``, ``not run`` or ``literature``.
        reason: why it is not ``run``.
        network: whose multiply-adds these are: classifier, and the observation network if there is one.
        clips: that the classifier looks at; text where the paper has it.
        gmacs: 10^9 multiply-adds of a video, counted.
        paper_gmacs: the paper's.
        videos: how many test videos ours is a mean over (the sum over splits).
        evaluations: folders that ours was read from.
        note: what a row is for that the paper does not have.
    """

    table: str
    row: str
    kind: str
    dataset: str
    metric: str
    paper: float | None
    ours: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    status: str = "not run"
    reason: str = ""
    network: str = ""
    clips: str = ""
    gmacs: float | None = None
    paper_gmacs: float | None = None
    videos: int | None = None
    evaluations: tuple[str, ...] = field(default=())
    note: str = ""

    @property
    def mean(self) -> float | None:
        """The mean over seeds."""
        return statistics.fmean(self.ours) if self.ours else None

    @property
    def spread(self) -> float | None:
        """The standard deviation over seeds; None with fewer than two."""
        return statistics.stdev(self.ours) if len(self.ours) > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        return None if self.mean is None or self.paper is None else self.mean - self.paper

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, with mean, spread and difference."""
        own = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return own | {"ours_mean": self.mean, "ours_std": self.spread, "difference": self.difference}


def from_plain(content: Mapping[str, Any]) -> Record:
    """Return what `Record.plain` was made of."""
    own: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    return Record(**{name: own[name] for name in Record.__dataclass_fields__})


def percent(value: float | None, *, sign: bool = False) -> str:
    """Return a rate in percent, with one digit.

    >>> percent(0.595), percent(0.021, sign=True), percent(None)
    ('59.5', '+2.1', '-')
    """
    return "-" if value is None else f"{100 * value:{'+' if sign else ''}.1f}"


def shown(record: Record) -> str:
    """Return our figure as text: mean and standard deviation over seeds, or why there is none.

    >>> shown(Record("table1", "DSN", "paper", "hmdb51", "top1", 0.595, ours=(0.5, 0.6), seeds=(0, 1), status="run"))
    '55.0 ± 7.1'
    """
    if record.mean is None:
        return record.status
    text = percent(record.mean) + (f" ± {percent(record.spread)}" if record.spread is not None else "")
    return text if record.status == "run" else f"{text} ({record.status})"


def cells(records: Sequence[Record]) -> list[list[str]]:
    """Return a header and one line a row of the table: paper, ours and difference for each data set and metric."""
    columns = list(dict.fromkeys((r.dataset, r.metric) for r in records))
    several = len({dataset for dataset, _ in columns}) > 1
    rows = {r.row: [o for o in records if o.row == r.row] for r in records}
    paper_cost = any(r.paper_gmacs is not None for r in records)
    header = ["row", "network", "clips"]
    for dataset, metric in columns:
        name = f"{dataset} {METRICS[metric]}" if several else METRICS[metric]
        header += [f"{name}: paper", "ours", "difference"]
    lines = [[*header, "GMACs", *(["paper's GMACs"] if paper_cost else [])]]
    for name, own in rows.items():
        by = {(r.dataset, r.metric): r for r in own}
        line = [name, _joined(r.network for r in own), _joined(r.clips for r in own)]
        for column in columns:
            found = by.get(column)
            line += ["", "", ""] if found is None else [
                percent(found.paper), shown(found), percent(found.difference, sign=True)
            ]  # fmt: skip
        line.append(_joined(f"{r.gmacs:.4g}" for r in own if r.gmacs is not None) or "-")
        if paper_cost:
            line.append(next((f"{r.paper_gmacs:.1f}" for r in own if r.paper_gmacs is not None), "-"))
        lines.append(line)
    return lines


def _joined(texts: Any) -> str:
    return " / ".join(dict.fromkeys(text for text in texts if text))


def reasons(records: Sequence[Record]) -> list[str]:
    """Return a line for each reason why figures are missing, with the rows that it concerns."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for r in records:
        if r.reason and r.kind != "literature":
            found.setdefault((r.dataset, r.status, r.reason), []).append(r.row)
    return [
        f"{dataset}: {status}: {', '.join(dict.fromkeys(rows))}: {reason}"
        for (dataset, status, reason), rows in found.items()
    ]


def rich_table(records: Sequence[Record], *, title: str) -> Table:
    """Return the table that a person reads; rates in percent."""
    table = Table(title=title, title_justify="left")
    header, *lines = cells(records)
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i < 2 else "right", overflow="fold")
    for line in lines:
        table.add_row(*map(escape, line))
    return table


def markdown(records: Sequence[Record], *, title: str, notes: Sequence[str] = ()) -> str:
    """Return the same as Markdown, with why figures are missing, and notes."""
    header, *lines = cells(records)
    rule = ["---" if i < 2 else "---:" for i in range(len(header))]
    text = f"{title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *lines))
    below = [*reasons(records), *notes]
    return text + ("\n" + "".join(f"- {line}\n" for line in below) if below else "")


def to_csv(records: Sequence[Record]) -> str:
    """Return one line a figure as CSV with a header; None becomes an empty cell, spaces part several values."""
    out = io.StringIO()
    rows = [{k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in r.plain().items()} for r in records]
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
