"""The output of an evaluation of videos or of stored scores, other than the scores themselves."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from dsn_lightning.config.evaluation_settings import EvaluationSettings
from dsn_lightning.config.settings import Settings
from dsn_lightning.evaluation import comparison_table
from dsn_lightning.evaluation.answers import sheet_videos
from dsn_lightning.evaluation.details import EvaluationDetails
from dsn_lightning.evaluation.figures import class_figure, contact_sheets, cost_figure
from dsn_lightning.evaluation.learning_checks import learning_warnings
from dsn_lightning.evaluation.outcomes import StoredEvaluation
from dsn_lightning.evaluation.predictions import predictions_csv
from dsn_lightning.evaluation.results import FIELDS, Row, results_table
from dsn_lightning.evaluation.statistics_file import summary
from dsn_lightning.evaluation.study import Study
from dsn_lightning.files import write_atomically, write_json
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.text_tables import PrintableConsole, csv_text


def wide_console(*, quiet: bool = False) -> Console:
    """Return a console wide enough for tables, also in files and narrow windows."""
    return PrintableConsole(width=max(Console().width, 110), quiet=quiet)


def write_rows(rows: Sequence[Row], run: RunFolder) -> None:
    """Write the rows of results, as JSON and as CSV."""
    write_json(run.results_json, rows)
    write_atomically(run.results_csv, csv_text(rows, FIELDS))


def show_results(
    rows: Sequence[Row],
    evaluation: StoredEvaluation,
    settings: Settings | EvaluationSettings,
    console: Console,
    *,
    title: str,
) -> None:
    """Print the table of results, warnings and the requested statistics; write them, predictions and figures."""
    write_atomically(RunFolder(settings.folder).predictions_csv, predictions_csv(evaluation))
    results_table(rows, title=title).print(console)
    test, figures = settings.test, RunFolder(settings.folder).figures
    statistics = write_statistics(evaluation, settings.folder, test.bootstrap, console) if test.bootstrap else None
    if statistics is None:
        _print_lines(comparison_table.warning_lines({"warnings": learning_warnings([evaluation])[1]}), console)
    if test.figures:
        figures.mkdir(parents=True, exist_ok=True)
        cost_figure(rows, figures / "accuracy_vs_gmacs.png")
        if statistics is not None:
            class_figure(comparison_table.above_chance(statistics), figures / "classes.png")


def write_statistics(evaluation: StoredEvaluation, folder: Path, resamples: int, console: Console) -> dict[str, Any]:
    """Write ``statistics.json`` of an evaluation, print its main part and return it."""
    statistics = summary(Study([evaluation], number=resamples))
    write_json(RunFolder(folder).statistics_json, statistics)
    _print_lines(comparison_table.warning_lines(statistics), console)
    shown = comparison_table.above_chance(statistics)
    differences = comparison_table.against_references(shown)
    if differences:
        title = "what choosing clips gains over uniform and dense ones, with the same classifier"
        comparison_table.differences_table(shown, differences, title=title).print(console)
    elif shown["headroom"]:
        title = "headroom: what the best choice of clips could gain over uniform ones"
        comparison_table.headroom_table(shown, title=title).print(console)
    lines = [*comparison_table.gap_lines(shown), *comparison_table.headroom_lines(shown)]
    if lines:
        _print_lines([comparison_table.explanation(statistics), *lines], console)
    return statistics


def _print_lines(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def draw_contact_sheets(shown: EvaluationDetails, samplers: Collection[str], folder: Path) -> None:
    """Draw the clips that the first sampler ranks highest and lowest."""
    for name in list(samplers)[:1]:
        chosen, file = sheet_videos(len(shown.videos)), RunFolder(folder).figures / f"clips_{name}.png"
        contact_sheets(shown.scores, name, shown.schemes[0], shown.videos, chosen, shown.reader, file)
