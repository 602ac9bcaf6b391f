"""Writes the report: one page that needs nothing else, and the same figures as Markdown and CSV."""

import base64
import hashlib
import importlib.metadata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from dsn_lightning.evaluation.stored import stored_scores
from dsn_lightning.files import write_atomically
from dsn_lightning.report.collect import Collection, Run
from dsn_lightning.report.comparisons import (
    Compare,
    Comparison,
    comparisons_of,
    comparisons_of_tables,
    evaluations_of,
    not_in_tables,
)
from dsn_lightning.report.page_tables import (
    Table,
    escape_markdown,
    paper_note,
    results_table,
    runs_table,
    to_csv,
    to_markdown,
)
from dsn_lightning.report.pictures import LIMIT, Sheet, scaled_to_fit, sheets_of
from dsn_lightning.report.plots import Figure, Legend, curves, frontiers
from dsn_lightning.report.result_rows import Result, results_of
from dsn_lightning.runs import RunFolder

NUM_SHEETS = 20
"""Evaluations whose clips are shown unless told otherwise."""

NUM_STATISTICS = 12
"""Groups of evaluations, one group for all seeds, of which statistics are worked out unless told otherwise."""

_FINE = ("finished", "running", "waiting")


@dataclass(frozen=True)
class Report:
    """All that a report shows.

    Attributes:
        title: of the page.
        made: when, in UTC.
        head: (name, text) of what is to be known beforehand.
        results: rows, means over seeds.
        results_table: the same as cells.
        paper_note: what is to be said of the paper's figures in it.
        runs: of any state.
        runs_table: the same as cells.
        frontiers: accuracy against cost, a figure a data set.
        comparisons: differences between methods with intervals.
        curves: (data set, figures, legend).
        sheets: contact sheets and time lines.
        notes: what could not be read or is not shown, a sentence each.
    """

    title: str
    made: str
    head: Sequence[tuple[str, str]]
    results: Sequence[Result]
    results_table: Table
    paper_note: str
    runs: Sequence[Run]
    runs_table: Table
    frontiers: Sequence[Figure]
    comparisons: Sequence[Comparison]
    curves: Sequence[tuple[str, Sequence[Figure], Sequence[Legend]]]
    sheets: Sequence[Sheet]
    notes: Sequence[str] = field(default=())

    @property
    def troubled(self) -> list[Run]:
        """Runs that ended in any way but well."""
        return [run for run in self.runs if run.state not in _FINE]


def _shows_clips(folder: Path) -> bool:
    """Whether a folder holds an evaluation with clips of its own, which a fusion has not."""
    stored = stored_scores(folder)
    run = RunFolder(folder)
    return stored == run.clip_scores if stored else run.figures.is_dir()


def make_report(
    found: Collection,
    compare: Compare,
    *,
    num_sheets: int = NUM_SHEETS,
    num_statistics: int = NUM_STATISTICS,
    say: Callable[[str], None] = print,
) -> Report:
    """Work out everything that the report shows.

    Args:
        found: runs and results.
        compare: works out the statistics of evaluations, one a seed.
        num_sheets: at most so many evaluations have their clips shown.
        num_statistics: at most so many groups of evaluations are compared anew.
        say: is told what takes long.
    """
    results = results_of(found)
    of_tables, unread = comparisons_of_tables(found.differences)
    groups = not_in_tables(evaluations_of(results, found.sources), of_tables, found.differences)
    comparisons, lacking = comparisons_of(groups, compare, at_most=num_statistics, say=say)
    notes = [*found.notes, *lacking, *unread]
    shown = []
    evaluations = [source for source in found.sources if _shows_clips(source.folder)]
    for i, source in enumerate(evaluations[:num_sheets]):
        say(f"clips of {source.name} ({i + 1} of {min(len(evaluations), num_sheets)})")
        shown += sheets_of(source)
    if len(evaluations) > num_sheets:
        notes.append(
            f"clips of the first {num_sheets} of {len(evaluations)} evaluations are shown; "
            f"sheets={len(evaluations)} shows all"
        )
    shown, scaled = scaled_to_fit(shown, LIMIT)
    if scaled:
        notes.append(scaled)
    names = sorted({own.described["dataset"] for own in results})
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
        comparisons=[*of_tables, *comparisons],
        curves=curves(found.runs),
        sheets=shown,
        notes=notes,
    )


def _head(found: Collection, results: Sequence[Result]) -> list[tuple[str, str]]:
    states = Counter(run.state for run in found.runs)
    seeds = {seed for own in results for seed in own.seeds}
    told = [f"{count} {state}" for state, count in states.most_common()]
    environments = found.environments()

    def all_of(text_of: Callable[[Mapping[str, Any]], str]) -> str:
        texts = list(dict.fromkeys(filter(None, map(text_of, environments))))
        return "; ".join(texts) if len(texts) <= 4 else f"{'; '.join(texts[:4])} and {len(texts) - 4} more"

    lines = [
        ("Folders", ", ".join(found.folders)),
        ("Runs", f"{len(found.runs)}" + (f" ({', '.join(told)})" if told else "")),
        ("Results", f"{len(results)} rows out of {len(found.sources)} results.json" if results else ""),
        ("Seeds", _listed(seeds)),
        ("Commit", all_of(_commit)),
        ("Versions", all_of(_versions)),
        ("Hardware", all_of(_hardware)),
        ("Frame rate, stride", all_of(lambda env: f"{env['fps']}, {env.get('frame_stride')}" if "fps" in env else "")),
        ("Batch (effective)", all_of(lambda env: str(env.get("effective_batch_size", "")))),
        ("Made with", f"dsn-lightning {importlib.metadata.version('dsn-lightning')}"),
    ]  # fmt: skip
    return [(name, text) for name, text in lines if text]


def _commit(environment: Mapping[str, Any]) -> str:
    """Return as many digits as tell commits apart, and ``-dirty`` where it stands behind them."""
    digits, dash, dirty = str(environment.get("git_commit") or "").partition("-")
    return digits[:12] + dash + dirty


def _listed(seeds: set[Any]) -> str:
    return ", ".join(sorted(map(str, seeds), key=lambda text: (len(text), text)))


def _versions(environment: Mapping[str, Any]) -> str:
    versions = environment.get("versions")
    own = [f"Python {environment.get('python')}"] if environment.get("python") else []
    return ", ".join(own + [f"{k} {v}" for k, v in versions.items()] if isinstance(versions, dict) else own)


def _hardware(environment: Mapping[str, Any]) -> str:
    gpus = environment.get("gpus")
    parts = [str(environment.get("cpu") or ""), f"{environment['cores']} cores" if environment.get("cores") else ""]
    parts.append(", ".join(f"{n} x {gpu}" for gpu, n in Counter(map(str, gpus)).items()) if gpus else "")
    return ", ".join(filter(None, parts))


def to_html(report: Report) -> str:
    """Return the page: nothing in it is loaded from elsewhere, and only its own script may run."""
    script = _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FunctionLoader(_file), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        report=report, style=Markup(_file("page.css")), script=Markup(script), digest=digest
    )  # the two are ours: nothing that a user wrote is in them


def _file(name: str) -> str:
    return (files(__package__) / "page_files" / name).read_text(encoding="utf-8")


def to_text(report: Report) -> str:
    """Return the report as Markdown: the tables, and the figures' numbers in words."""
    lines = [f"# {escape_markdown(report.title)}", "", f"Made {report.made}.", ""]
    lines += [f"- {name}: {escape_markdown(text)}" for name, text in report.head]
    lines += [f"- note: {escape_markdown(note)}" for note in report.notes]
    if report.results:
        lines += ["", "## Results", "", "Rates in %, mean ± standard deviation over seeds.", ""]
        lines += [to_markdown(report.results_table), escape_markdown(report.paper_note)]
    for figure in report.frontiers:
        lines += ["", f"## Accuracy against multiply-adds: {escape_markdown(figure.title)}", ""]
        lines += [
            f"- {escape_markdown(entry.text)}{' (on the front)' if entry.front else ''}" for entry in figure.legend
        ]
        lines += [f"- {figure.note}"] if figure.note else []
    for compared in report.comparisons:
        lines += ["", f"## Differences: {escape_markdown(compared.title)}", ""]
        if compared.differences.rows:
            lines += [to_markdown(compared.differences), f"- {escape_markdown(compared.explanation)}"]
        lines += [f"- {escape_markdown(line)}" for line in compared.lines]
        if compared.gains:
            lines += ["", f"{escape_markdown(compared.gains[0])}:", "", to_markdown(compared.gains[1])]
        lines += [f"Confusion of {escape_markdown(compared.confused)}"] if compared.confused else []
    if report.runs:
        lines += ["", "## Runs", "", to_markdown(report.runs_table)]
    if report.troubled:
        lines += ["", "## Not finished", ""]
        lines += [
            f"- {escape_markdown(f'{run.name}: {run.state}. {run.error or _reason(run)}')}" for run in report.troubled
        ]
    lacking = [(sheet, note) for sheet in report.sheets for note in sheet.notes]
    if report.sheets:
        lines += ["", "## Selected clips", "", "The pictures are in the page and in each evaluation's figures/.", ""]
        for sheet in report.sheets:
            own = f"{sheet.source}{f', {sheet.sampler}' if sheet.sampler else ''}"
            lines += [
                f"- {escape_markdown(f'{own}, {line.video} ({line.classes}): {line.text}')}" for line in sheet.timelines
            ]
        lines += [f"- {escape_markdown(f'{sheet.source}: {note}')}" for sheet, note in lacking]
    return "\n".join(lines).rstrip() + "\n"


def _reason(run: Run) -> str:
    return "no error was written down" if run.state == "failed" else ""


def write_report(report: Report, output: Path) -> list[Path]:
    """Write ``report.html``, ``report.md`` and ``report.csv`` to ``output``; each appears whole or not at all."""
    written = []
    for name, content in (
        ("report.html", to_html(report)), ("report.md", to_text(report)), ("report.csv", to_csv(report.results))
    ):  # fmt: skip
        write_atomically(output / name, content)
        written.append(output / name)
    return written
