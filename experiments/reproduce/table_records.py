"""The paper's figures beside ours as plain records, and how a table of them is shown; pure functions."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dsn_lightning.text_tables import TextTable, csv_text

METRICS = {"top1": "top-1", "top5": "top-5", "map": "mAP"}
"""Metric -> its name in a table."""


@dataclass(frozen=True)
class Record:
    """One figure of a table: a row, a data set, a metric. Rates are fractions in [0, 1].

    Attributes:
        table: table1, fig4, ...
        row: the paper's name for the row, or ours where ``kind`` is ``extra``.
        kind: ``paper`` (a row of the paper's own systems), ``literature`` (another system's, as the paper gives it) or
            ``extra`` (ours alone).
        dataset: the data set that ours was measured on.
        metric: top1, top5 or map.
        paper: the paper's figure for the same row, data set and metric.
        ours: one value a seed (the mean over splits, where the table has several).
        seeds: the seeds of these values.
        status: ``run``, ``partly run`` (seeds or splits are missing), ``failed``, ``not run`` or ``literature``.
        reason: why the status is not ``run``.
        network: the networks whose multiply-adds are counted: classifier, and the observation network if there is one.
        clips: number of clips that the classifier scores; free text where the paper has text.
        gmacs: 10^9 multiply-adds a video, counted.
        paper_gmacs: the paper's figure for them.
        videos: number of test videos that ours is a mean over (the sum over splits).
        evaluations: folders that ours was read from.
        note: purpose of a row that the paper does not have.
        basis: on how many videos and classes ours was trained and tested, and what its networks started from; empty
            where that is not recorded.
        withheld: why ours cannot be compared with the paper's figure; empty where it can.
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
    evaluations: tuple[str, ...] = ()
    note: str = ""
    basis: str = ""
    withheld: str = ""

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
        """Ours minus the paper's; None where it is withheld, also where it is not recorded what ours stands on."""
        comparable = self.basis and not self.withheld
        return None if self.mean is None or self.paper is None or not comparable else self.mean - self.paper

    def plain(self) -> dict[str, Any]:
        """Return the record as plain values, with mean, spread and difference."""
        fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return fields | {"ours_mean": self.mean, "ours_std": self.spread, "difference": self.difference}


def from_plain(content: Mapping[str, Any]) -> Record:
    """Return the record that `Record.plain` gave ``content`` for."""
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
    return Record(**{name: fields[name] for name in Record.__dataclass_fields__ if name in fields})


def percent(value: float | None, *, sign: bool = False) -> str:
    """Return a rate in percent, with one digit.

    >>> percent(0.595), percent(0.021, sign=True), percent(None)
    ('59.5', '+2.1', '-')
    """
    return "-" if value is None else f"{100 * value:{'+' if sign else ''}.1f}"


def shown(record: Record) -> str:
    """Return our figure as text: mean and standard deviation over seeds, or the status if there is none.

    >>> shown(Record("table1", "DSN", "paper", "hmdb51", "top1", 0.595, ours=(0.5, 0.6), seeds=(0, 1), status="run"))
    '55.0 ± 7.1'
    """
    if record.mean is None:
        return record.status
    text = percent(record.mean) + (f" ± {percent(record.spread)}" if record.spread is not None else "")
    return text if record.status == "run" else f"{text} ({record.status})"


def text_table(records: Sequence[Record], *, title: str = "") -> TextTable:
    """Return the table of all rows: the paper's figure, ours and the difference for each data set and metric."""
    columns = list(dict.fromkeys((r.dataset, r.metric) for r in records))
    several_datasets = len({dataset for dataset, _ in columns}) > 1
    with_paper_cost = any(r.paper_gmacs is not None for r in records)
    header = ["row", "network", "clips"]
    for dataset, metric in columns:
        name = f"{dataset} {METRICS[metric]}" if several_datasets else METRICS[metric]
        header += [f"{name}: paper", "ours", "difference"]
    header += ["GMACs", *(["paper's GMACs"] if with_paper_cost else [])]
    by_row: dict[str, list[Record]] = {}
    for record in records:
        by_row.setdefault(record.row, []).append(record)
    lines = [_line(of_row, columns, with_paper_cost=with_paper_cost) for of_row in by_row.values()]
    return TextTable(header, lines, num_names=2, title=title, fold=True)


def _line(records: Sequence[Record], columns: Sequence[tuple[str, str]], *, with_paper_cost: bool) -> list[str]:
    """Return the texts of one row from its records."""
    by_column = {(r.dataset, r.metric): r for r in records}
    line = [records[0].row, _joined(r.network for r in records), _joined(r.clips for r in records)]
    for column in columns:
        found = by_column.get(column)
        if found is None:
            line += ["", "", ""]
        else:
            line += [percent(found.paper), shown(found), percent(found.difference, sign=True)]
    line.append(_joined(f"{r.gmacs:.4g}" for r in records if r.gmacs is not None) or "-")
    if with_paper_cost:
        line.append(next((f"{r.paper_gmacs:.1f}" for r in records if r.paper_gmacs is not None), "-"))
    return line


def _joined(texts: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(text for text in texts if text))


def reasons(records: Sequence[Record]) -> list[str]:
    """Return a line for each reason why figures are missing, with the rows that it applies to."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for r in records:
        if r.reason and r.kind != "literature":
            found.setdefault((r.dataset, r.status, r.reason), []).append(r.row)
    return [
        f"{dataset}: {status}: {', '.join(dict.fromkeys(rows))}: {reason}"
        for (dataset, status, reason), rows in found.items()
    ]


def bases(records: Sequence[Record]) -> list[str]:
    """Return lines that say on what ours stands and which differences are withheld, rows with the same text together.

    >>> record = Record("table1", "DSN", "paper", "hmdb51", "top1", 0.595, (0.5,), (0,), "run", basis="trained on ...")
    >>> bases([record])
    ['hmdb51: DSN: trained on ...']
    """
    found: dict[tuple[str, str], list[str]] = {}
    for r in records:
        if r.mean is not None:
            text = r.basis or "what it was trained on is not recorded"
            if r.paper is not None and r.difference is None:
                text += f"; no difference to the paper is shown{': ' * bool(r.withheld)}{r.withheld}"
            found.setdefault((r.dataset, text), []).append(r.row)
    return [f"{dataset}: {', '.join(dict.fromkeys(rows))}: {text}" for (dataset, text), rows in found.items()]


def markdown(records: Sequence[Record], *, title: str, notes: Sequence[str] = ()) -> str:
    """Return the table as Markdown, with the reasons why figures are missing, and notes."""
    text = f"{title}\n\n{text_table(records).markdown()}"
    below = [*reasons(records), *notes]
    return text + ("\n" + "".join(f"- {line}\n" for line in below) if below else "")


def records_csv(records: Sequence[Record]) -> str:
    """Return one line a figure as CSV with a header; several values are separated by spaces."""
    plain = (record.plain() for record in records)
    return csv_text({k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in line.items()} for line in plain)
