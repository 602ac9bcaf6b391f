"""Writes the report: one page that loads nothing else, and the same figures as Markdown and CSV."""

import importlib.metadata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dsn_lightning.errors import printable
from dsn_lightning.evaluation.scores_file import stored_scores
from dsn_lightning.files import write_atomically
from dsn_lightning.report.collect import Collection, Run
from dsn_lightning.report.differences import (
    Compare,
    Comparison,
    comparisons_of,
    comparisons_of_tables,
    evaluations_of,
    not_in_tables,
)
from dsn_lightning.report.frontiers import LegendEntry, ReportChart, frontiers
from dsn_lightning.report.html_page import render_html
from dsn_lightning.report.page_tables import (
    PageTable,
    paper_note,
    results_table,
    runs_table,
    to_csv,
    to_markdown,
)
from dsn_lightning.report.pictures import LIMIT, Sheet, scaled_to_fit, sheets_of
from dsn_lightning.report.result_rows import Result, results_of
from dsn_lightning.report.training_curves import training_curves
from dsn_lightning.runs import RunFolder
from dsn_lightning.text_tables import escape_markdown

NUM_SHEETS = 20
"""Evaluations whose clips are shown by default."""

NUM_STATISTICS = 12
"""Groups of evaluations, one group for all seeds, whose statistics are computed by default."""

_UNTROUBLED = ("finished", "running", "waiting", "pruned")


@dataclass(frozen=True)
class Report:
    """Everything that a report shows."""

    title: str
    made: str  #: time in UTC
    head: Sequence[tuple[str, str]]  #: (name, text) pairs at the top: folders, versions, hardware
    results: Sequence[Result]  #: rows, means over seeds; ``results_table`` shows them
    results_table: PageTable
    paper_note: str  #: what limits the comparison with the paper's figures in the table
    runs: Sequence[Run]  #: runs in any state; ``runs_table`` shows them
    runs_table: PageTable
    frontiers: Sequence[ReportChart]
    comparisons: Sequence[Comparison]
    curves: Sequence[tuple[str, Sequence[ReportChart], Sequence[LegendEntry]]]  #: (data set, charts, legend)
    sheets: Sequence[Sheet]
    notes: Sequence[str] = field(default=())  #: a sentence for each thing that could not be read or is not shown

    @property
    def troubled(self) -> list[Run]:
        """Runs that failed, were stopped or were killed."""
        return [run for run in self.runs if run.state not in _UNTROUBLED]


def make_report(
    found: Collection,
    compare: Compare,
    *,
    num_sheets: int = NUM_SHEETS,
    num_statistics: int = NUM_STATISTICS,
    announce: Callable[[str], None] = print,
) -> Report:
    """Make everything that the report shows; ``announce`` receives a line before each slow step.

    Clips of at most ``num_sheets`` evaluations are shown; ``compare`` is called for at most ``num_statistics`` groups.
    """
    results = results_of(found)
    table_comparisons, unreadable = comparisons_of_tables(found.differences)
    groups = not_in_tables(evaluations_of(results, found.sources), table_comparisons, found.differences)
    comparisons, missing = comparisons_of(groups, compare, at_most=num_statistics, announce=announce)
    sheets, sheet_notes = _sheets(found, num_sheets, announce)
    names = sorted({result.described["dataset"] for result in results})
    return Report(
        title=f"Dynamic Sampling Networks on {', '.join(names)}" if names else "Dynamic Sampling Networks: runs",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        head=_head(found, results),
        results=results,
        results_table=results_table(results),
        paper_note=paper_note(results),
        runs=found.runs,
        runs_table=runs_table(found.runs),
        frontiers=frontiers(results),
        comparisons=[*table_comparisons, *comparisons],
        curves=training_curves(found.runs),
        sheets=sheets,
        notes=[*found.notes, *missing, *unreadable, *sheet_notes],
    )


def _sheets(found: Collection, at_most: int, announce: Callable[[str], None]) -> tuple[list[Sheet], list[str]]:
    """Return the contact sheets of the first evaluations, and notes on what is left out or scaled down."""
    sheets, notes, evaluations = [], [], []
    for source in found.sources:
        stored, run = stored_scores(source.folder), RunFolder(source.folder)
        if stored == run.clip_scores if stored else run.figures.is_dir():  # a fusion has scored no clips
            evaluations.append(source)
    for i, source in enumerate(evaluations[:at_most]):
        announce(f"clips of {source.name} ({i + 1} of {min(len(evaluations), at_most)})")
        sheets += sheets_of(source)
    if len(evaluations) > at_most:
        shown = f"clips of the first {at_most} of {len(evaluations)} evaluations are shown"
        notes.append(f"{shown}; sheets={len(evaluations)} shows all")
    sheets, note = scaled_to_fit(sheets, LIMIT)
    return sheets, [*notes, note] if note else notes


def _head(found: Collection, results: Sequence[Result]) -> list[tuple[str, str]]:
    states = Counter(run.state for run in found.runs)
    counts = [f"{count} {state}" for state, count in states.most_common()]
    seeds = {seed for result in results for seed in result.seeds}
    environments = found.environments()

    def different(text_of: Callable[[Mapping[str, Any]], str]) -> str:
        texts = list(dict.fromkeys(filter(None, map(text_of, environments))))
        return "; ".join(texts) if len(texts) <= 4 else f"{'; '.join(texts[:4])} and {len(texts) - 4} more"

    lines = [
        ("Folders", ", ".join(found.folders)),
        ("Runs", f"{len(found.runs)}" + (f" ({', '.join(counts)})" if counts else "")),
        ("Results", f"{len(results)} rows from {len(found.sources)} results.json" if results else ""),
        ("Seeds", ", ".join(sorted(map(str, seeds), key=lambda text: (len(text), text)))),
        ("Commit", different(_commit)),
        ("Versions", different(_versions)),
        ("Hardware", different(_hardware)),
        (
            "Frame rate, stride",
            different(lambda env: f"{env['fps']}, {env.get('frame_stride')}" if "fps" in env else ""),
        ),
        ("Batch (effective)", different(lambda env: str(env.get("effective_batch_size", "")))),
        ("Made with", f"dsn-lightning {importlib.metadata.version('dsn-lightning')}"),
    ]
    return [(name, text) for name, text in lines if text]


def _commit(environment: Mapping[str, Any]) -> str:
    """Return enough digits to identify the commit, and ``-dirty`` where it follows them."""
    digits, dash, dirty = str(environment.get("git_commit") or "").partition("-")
    return digits[:12] + dash + dirty


def _versions(environment: Mapping[str, Any]) -> str:
    versions = environment.get("versions")
    texts = [f"Python {environment.get('python')}"] if environment.get("python") else []
    texts += [f"{name} {version}" for name, version in versions.items()] if isinstance(versions, dict) else []
    return ", ".join(texts)


def _hardware(environment: Mapping[str, Any]) -> str:
    gpus = environment.get("gpus")
    parts = [str(environment.get("cpu") or ""), f"{environment['cores']} cores" if environment.get("cores") else ""]
    parts.append(", ".join(f"{n} x {gpu}" for gpu, n in Counter(map(str, gpus)).items()) if gpus else "")
    return ", ".join(filter(None, parts))


def to_html(report: Report) -> str:
    """Return the page."""
    return render_html("page.html", styles=["page.css"], script="page.js", report=report)


def to_text(report: Report) -> str:
    """Return the report as Markdown: the tables, and the numbers of the charts in words."""
    lines = [f"# {escape_markdown(report.title)}", "", f"Made {report.made}.", ""]
    lines += [f"- {name}: {escape_markdown(text)}" for name, text in report.head]
    lines += [f"- note: {escape_markdown(note)}" for note in report.notes]
    if report.results:
        lines += ["", "## Results", "", "Rates in %, mean ± standard deviation over seeds.", ""]
        lines += [to_markdown(report.results_table), escape_markdown(report.paper_note)]
    for chart in report.frontiers:
        lines += _frontier_text(chart)
    for comparison in report.comparisons:
        lines += _comparison_text(comparison)
    if report.runs:
        lines += ["", "## Runs", "", to_markdown(report.runs_table)]
    if report.troubled:
        lines += ["", "## Not finished", ""]
        for run in report.troubled:
            reason = run.error or "no error was recorded" * (run.state == "failed")
            lines.append(f"- {escape_markdown(f'{run.name}: {run.state}. {reason}')}")
    if report.sheets:
        lines += _clips_text(report.sheets)
    return "\n".join(lines).rstrip() + "\n"


def _frontier_text(chart: ReportChart) -> list[str]:
    lines = ["", f"## Accuracy against multiply-adds: {escape_markdown(chart.title)}", ""]
    lines += [f"- {escape_markdown(entry.text)}{' (on the front)' if entry.front else ''}" for entry in chart.legend]
    return [*lines, f"- {escape_markdown(chart.note)}"] if chart.note else lines


def _comparison_text(comparison: Comparison) -> list[str]:
    lines = ["", f"## Differences: {escape_markdown(comparison.title)}", ""]
    if comparison.differences.rows:
        lines += [to_markdown(comparison.differences), f"- {escape_markdown(comparison.explanation)}"]
    lines += [f"- {escape_markdown(line)}" for line in comparison.lines]
    if comparison.gains:
        title, table = comparison.gains
        lines += ["", f"{escape_markdown(title)}:", "", to_markdown(table)]
    return [*lines, f"Confusion of {escape_markdown(comparison.confused)}"] if comparison.confused else lines


def _clips_text(sheets: Sequence[Sheet]) -> list[str]:
    lines = ["", "## Selected clips", "", "The pictures are in the page and in each evaluation's figures/.", ""]
    for sheet in sheets:
        name = ", ".join(filter(None, [sheet.source, sheet.sampler]))
        texts = [f"{name}, {line.video} ({line.classes}): {line.text}" for line in sheet.timelines]
        lines += [f"- {escape_markdown(text)}" for text in texts]
    notes = [f"{sheet.source}: {note}" for sheet in sheets for note in sheet.notes]
    return [*lines, *(f"- {escape_markdown(note)}" for note in notes)]


def write_report(report: Report, output: Path) -> list[Path]:
    """Write ``report.html``, ``report.md`` and ``report.csv`` to ``output``, each atomically; return their paths."""
    contents = {"report.html": to_html(report), "report.md": to_text(report), "report.csv": to_csv(report.results)}
    for name, content in contents.items():
        write_atomically(output / name, printable(content))  # names of folders may not be UTF-8
    return [output / name for name in contents]
