"""dsn-evaluate fusion=[A,B]: two-stream results from the scores that two evaluations have stored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from dsn_lightning.cli.statistics_output import write_statistics
from dsn_lightning.config.build import build_selections
from dsn_lightning.config.evaluation_settings import EvaluationSettings
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.figures import class_figure, cost_figure
from dsn_lightning.evaluation.fusion import Fusion, fuse
from dsn_lightning.evaluation.outcomes import StoredEvaluation
from dsn_lightning.evaluation.results import FIELDS, results_table
from dsn_lightning.evaluation.splits import kind_of_videos
from dsn_lightning.evaluation.stored import read_evaluation, save_outcomes
from dsn_lightning.files import write_atomically, write_json
from dsn_lightning.runs.environment import environment
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.selections import Selection
from dsn_lightning.text_tables import csv_text


def fuse_stored(settings: EvaluationSettings) -> None:
    """Fuse the evaluations in the folders ``settings.fusion``; write and print the results."""
    selections = build_selections(settings.selection)
    streams = [_read(folder, selections) for folder in settings.fusion or ()]
    fusion = fuse(streams, settings.fusion_weights, name=str(settings.folder))
    console = Console(width=max(Console().width, 110))
    if fusion.left_out:
        some = ", ".join(fusion.left_out[:3]) + (", ..." if len(fusion.left_out) > 3 else "")
        console.print(f"{len(fusion.left_out)} videos left out, which not all evaluations have: {some}", soft_wrap=True)
    if fusion.unmatched:
        console.print(f"rows left out: {'; '.join(fusion.unmatched)}", soft_wrap=True)
    settings.folder.mkdir(parents=True, exist_ok=True)
    with RunFolder(settings.folder).hold():
        _write(fusion, settings, console)


def _read(name: str, selections: Sequence[Selection]) -> StoredEvaluation:
    try:
        return replace(read_evaluation(Path(name).expanduser(), selections), name=name)
    except UsageError as error:
        raise UsageError(f"fusion={error}") from error


def _write(fusion: Fusion, settings: EvaluationSettings, console: Console) -> None:
    run, weights = RunFolder(settings.folder), list(settings.fusion_weights)
    save_outcomes(fusion.evaluation, run.video_scores)
    write_json(run.results_json, fusion.rows)
    write_atomically(run.results_csv, csv_text(fusion.rows, FIELDS))
    facts = environment(fusion=list(settings.fusion or ()), fusion_weights=weights, videos_left_out=fusion.left_out)
    write_json(run.environment_json, facts)
    first, count = fusion.rows[0], len(fusion.evaluation.video_id)
    title = f"{first['dataset']}, {first['modality']}, {count} {kind_of_videos(first['dataset'])} (rates in %)"
    console.print(results_table(fusion.rows, title=title).terminal())
    statistics = None
    if settings.test.bootstrap:
        statistics = write_statistics(
            fusion.evaluation, settings.folder, number=settings.test.bootstrap, console=console
        )
    if settings.test.figures:
        run.figures.mkdir(exist_ok=True)
        cost_figure(fusion.rows, run.figures / "accuracy_vs_gmacs.png")
        if statistics is not None:
            class_figure(statistics, run.figures / "classes.png")
    console.print(f"written: {settings.folder}")
