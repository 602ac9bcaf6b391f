"""Writes the part of experiments/README.md that says, row by row, what the paper's tables have and what was run.

    python experiments/readme_tables.py

It is made from the tables' own definitions and from results/tables/SETTING/<table>/<dataset>.json (what a table's call
wrote to OUTPUT/<table>, under a name that says what it was run with; SETTING.md there tells more), so that it cannot go
stale; a test compares.
"""

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from dsn_lightning.paper import literature, paper_table
from reproduce.paper_table import PaperTable, Row
from reproduce.table_records import METRICS, Record, from_plain, percent, shown

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "tables"
NAMES = (*(f"table{n}" for n in range(1, 8)), "fig4", "fig5")
BEGIN, END = "<!-- tables: made by readme_tables.py -->", "<!-- tables: end -->"
_TITLES = {"ucf101": "UCF101", "hmdb51": "HMDB51", "thumos14": "THUMOS14", "activitynet": "ActivityNet",
           "joined_development": "Development videos"}  # fmt: skip


def section() -> str:
    """Return the text between the marks."""
    parts = [
        "## Row by row\n\n"
        "Each table is one command, which runs what is missing and keeps what is there; `--dry-run` shows its "
        "commands,\nand what they cost on this machine. Rates in %. *Ours* is with the paper's networks where no other "
        "setting is named.\nNAME is each of the table's data sets, a call each.\n",
        *(f"- *{file.parent.name}*: {file.read_text()}" for file in sorted(RESULTS.glob("*/SETTING.md"))),
    ]
    for name in NAMES:
        parts.append(_part(importlib.import_module(name).TABLE))
    return "\n".join(parts)


def _part(table: PaperTable) -> str:
    lines = [f"### {table.title}\n", "| row | paper | ours | status | command |", "|---|---|---|---|---|"]
    rows = _grouped(table) if table.name == "fig4" else table.rows
    for row in rows:
        paper = _paper(table, row)
        if row.evaluation is None:
            lines.append(f"| {row.name} | {paper} | - | literature | - |")
            continue
        ours = _ours(table, row)
        status = f"run: {', '.join(dict.fromkeys(s for s, _ in ours))}; with the paper's networks " if ours else ""
        figures = "; ".join(text for _, text in ours) or "-"
        lines.append(
            f"| {row.name} | {paper} | {figures} | {status}not run: {table.why_not_run} | `{command(table, row)}` |"
        )
    return "\n".join(
        [*lines, *([""] + [f"- {note}" for note in table.notes] if table.notes else []), *_kept(table), ""]
    )


def _kept(table: PaperTable) -> list[str]:
    """Return the kept differences between methods, each under a title, and the kept figures."""
    lines = []
    for file in sorted(RESULTS.glob(f"*/{table.name}/differences/*.md")):
        title = f"{_TITLES.get(file.stem, file.stem)}, differences between methods"
        if table.name == "fig4":  # at each M: long
            lines += ["", f"[{title}, {file.parents[2].name}]({file.relative_to(HERE)})"]
        else:
            lines += ["", f"{title} ({file.parents[2].name}):", "", file.read_text().rstrip()]
    for file in sorted(RESULTS.glob(f"*/{table.name}/*.png")):
        name = _TITLES.get(file.stem, file.stem)
        lines += ["", f"![{table.title}, {name}, {file.parents[1].name}]({file.relative_to(HERE)})"]
    for file in sorted(RESULTS.glob(f"*/{table.name}/clips/*.md")):
        about = f"{_TITLES.get(file.stem, file.stem)}, {file.parents[2].name}"
        lines += ["", f"[The clips, with probability and time: {about}]({file.relative_to(HERE)})"]
    return lines


def _grouped(table: PaperTable) -> Sequence[Row]:
    """Return one row a method of Fig. 4, whose number of clips is the figure's axis."""
    first: dict[str, Row] = {}
    for row in table.rows:
        first.setdefault(row.selection, Row(row.name.partition(",")[0] + ", 1 to 10 clips", row.evaluation))
    return list(first.values())


def command(table: PaperTable, row: Row) -> str:
    """Return what a person types for one row."""
    own = [f"python experiments/{table.name}.py"]
    if len(table.datasets) > 1:
        own.append("dataset=NAME")
    own.append("dataset.root=DIR")
    if table.name in ("table4", "table5"):
        own.append("dataset.ucf101_root=DIR")
    if row in table.rows and len(table.rows) > 1:
        own.append(f'rows="{row.name}"')
    return " ".join(own)


def _paper(table: PaperTable, row: Row) -> str:
    if row.extra:
        return f"- ({row.extra})"
    if table.number is None:
        return "-"
    figures = paper_table(table.number).get(row.name) or literature(table.number)[row.name]
    texts = []
    for dataset, metrics in table.datasets.items():
        for metric in metrics:
            value = figures.get(f"{dataset}/{metric}", figures.get(metric))
            name = f"{_TITLES[dataset]} " if len(table.datasets) > 1 else ""
            texts.append(f"{name}{METRICS[metric]} {percent(None if value is None else float(value))}")
    return ", ".join(texts)


def _ours(table: PaperTable, row: Row) -> list[tuple[str, str]]:
    """Return the setting and the text of each result that is kept."""
    found = []
    for file in sorted(RESULTS.glob(f"*/{table.name}/*.json")):
        records = [record for record in map(from_plain, json.loads(file.read_text())) if record.mean is not None]
        if row not in table.rows:  # of _grouped
            curve = [record for record in records if record.row.partition(",")[0] == row.name.partition(",")[0]]
            texts = [_named(curve[0], ", ".join(percent(record.mean) for record in curve))] if curve else []
        else:
            texts = [_named(record, shown(record)) for record in records if record.row == row.name]
        found += [(file.parents[1].name, f"{text} ({file.parents[1].name})") for text in texts]
    return found


def _named(record: Record, figures: str) -> str:
    return f"{_TITLES.get(record.dataset, record.dataset)} {METRICS[record.metric]} {figures}"


def with_section(text: str) -> str:
    """Return a README with the section put between its marks."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{section()}{END}{after}"


def main() -> int:
    file = HERE / "README.md"
    file.write_text(with_section(file.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
