"""Writes docs/findings/row_by_row.md: every row of the paper's tables, the paper's number and ours.

    python experiments/readme_tables.py

The page is made from the definitions of the tables and from results/tables/SETTING/<table>/<dataset>.json, which a
table's command wrote to OUTPUT/<table>. SETTING names what it was run with, and SETTING.md describes it. A test
compares the page with what this script writes.
"""

import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dsn_lightning.paper import literature, paper_table
from reproduce.paper_table import PaperTable, Row
from reproduce.table_records import METRICS, Record, from_plain, percent, shown

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "tables"
PAGE = HERE.parent / "docs" / "findings" / "row_by_row.md"
NAMES = (*(f"table{n}" for n in range(1, 8)), "fig4", "fig5")
_PAPERS_DATASETS = {"ucf101": "UCF101", "hmdb51": "HMDB51", "thumos14": "THUMOS14", "activitynet": "ActivityNet"}
_OUR_VIDEOS = {
    "hmdb51": "HMDB51",
    "activitynet": "untrimmed videos",
    "joined_development": "development videos",
}

_HEAD = """<!-- written by experiments/readme_tables.py; do not edit -->
# Row by row

You want to know, for every row of the paper's tables, what the paper has, what was run here, and the command for it.

Each table is one command. It runs what is missing and keeps what exists; `--dry-run` shows its plan and what it would
cost on your machine; `rows="DSN"` runs one row. NAME is a data set of the table; call it once for each. See
[The paper's tables](../paper_tables.md). Rates in %.

Our results were obtained with these settings, not with the paper's networks, and on other videos. They do not measure
the paper's numbers beside them.
"""


def page() -> str:
    """Return the text of the page."""
    settings = [f"- *{file.parent.name}*: {file.read_text()}" for file in sorted(RESULTS.glob("*/SETTING.md"))]
    tables = [_table_text(importlib.import_module(name).TABLE) for name in NAMES]
    return "\n".join([_HEAD, "".join(settings), *tables])


def _table_text(table: PaperTable) -> str:
    settings = list(dict.fromkeys(file.parents[1].name for file in _result_files(table)))
    lines = [
        f"## {table.title}\n",
        f"```\n{command(table)}\n```\n",
        f"With the paper's networks: not run ({table.why_not_run}).\n",
        _cells("row", "paper", *(settings or ["ours"])),
        _cells(*["---"] * (2 + max(1, len(settings)))),
    ]
    for row in _one_row_per_method(table) if table.name == "fig4" else table.rows:
        if row.evaluation is None:
            ours = ["from the literature", *["-"] * (len(settings) - 1)]
        else:
            ours = [_ours(table, row, setting) for setting in settings] or ["not run"]
        lines.append(_cells(row.name, _paper(table, row), *ours))
    if table.notes:
        lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join([*lines, *_kept_files(table), ""])


def _cells(*texts: str) -> str:
    return f"| {' | '.join(texts)} |"


def _kept_files(table: PaperTable) -> list[str]:
    """Return the kept differences between methods, figures and tables of clips, each with a title; long ones folded."""
    lines = []
    for file in sorted(RESULTS.glob(f"*/{table.name}/differences/*.md")):
        title = f"Differences between methods, {_videos(file.stem)} ({file.parents[2].name})"
        lines += ["", *_folded(title, file)] if table.name == "fig4" else ["", f"**{title}**", "", _content(file)]
    for file in sorted(RESULTS.glob(f"*/{table.name}/*.png")):
        lines += ["", f"![{table.title}, {_videos(file.stem)}, {file.parents[1].name}]({_link(file)})"]
    for file in sorted(RESULTS.glob(f"*/{table.name}/clips/*.md")):
        title = f"The clips, with probability and time: {_videos(file.stem)} ({file.parents[2].name})"
        lines += ["", *_folded(title, file)]
    return lines


def _folded(title: str, file: Path) -> list[str]:
    return [f"<details>\n<summary>{title}</summary>", "", _content(file), "", "</details>"]


def _content(file: Path) -> str:
    return file.read_text().rstrip()


def _videos(dataset: str) -> str:
    return _OUR_VIDEOS.get(dataset, dataset)


def _link(file: Path) -> str:
    return Path(os.path.relpath(file, PAGE.parent)).as_posix()


def _one_row_per_method(table: PaperTable) -> Sequence[Row]:
    """Return one row for each method of Fig. 4, whose number of clips is the figure's axis."""
    first: dict[str, Row] = {}
    for row in table.rows:
        first.setdefault(row.selection, Row(f"{_method(row.name)}, 1 to 10 clips", row.evaluation))
    return list(first.values())


def _method(row_name: str) -> str:
    return row_name.partition(",")[0]


def command(table: PaperTable) -> str:
    """Return what a person types for a table."""
    words = [f"python experiments/{table.name}.py"]
    if len(table.datasets) > 1:
        words.append("dataset=NAME")
    words.append("dataset.root=DIR")
    if table.name in ("table4", "table5"):
        words.append("dataset.ucf101_root=DIR")
    return " ".join(words)


def _paper(table: PaperTable, row: Row) -> str:
    if row.extra:
        return f"- ({row.extra})"
    if table.number is None:
        return "-"
    values = paper_table(table.number).get(row.name) or literature(table.number)[row.name]
    texts = []
    for dataset, metrics in table.datasets.items():
        for metric in metrics:
            value = values.get(f"{dataset}/{metric}", values.get(metric))
            name = f"{_PAPERS_DATASETS[dataset]} " if len(table.datasets) > 1 else ""
            texts.append(f"{name}{METRICS[metric]} {percent(None if value is None else float(value))}")
    return ", ".join(texts)


def _ours(table: PaperTable, row: Row, setting: str) -> str:
    """Return the results of a row that are kept for a setting."""
    texts = []
    for file in _result_files(table, setting):
        records = [record for record in map(from_plain, json.loads(file.read_text())) if record.mean is not None]
        if row not in table.rows:  # of _one_row_per_method
            curve = [record for record in records if _method(record.row) == _method(row.name)]
            texts += [_named(curve[0], ", ".join(percent(record.mean) for record in curve))] if curve else []
        else:
            texts += [_named(record, shown(record)) for record in records if record.row == row.name]
    return "; ".join(texts) or "not run"


def _result_files(table: PaperTable, setting: str = "*") -> list[Path]:
    return sorted(RESULTS.glob(f"{setting}/{table.name}/*.json"))


def _named(record: Record, values: str) -> str:
    return f"{_videos(record.dataset)} {METRICS[record.metric]} {values}"


def main() -> int:
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
