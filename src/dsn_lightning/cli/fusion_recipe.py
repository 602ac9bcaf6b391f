"""dsn-evaluate fusion=[A,B]: two-stream results from the scores that two evaluations have stored."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from dsn_lightning.cli.evaluation_output import show_results, wide_console, write_rows
from dsn_lightning.config.build import build_selections
from dsn_lightning.config.evaluation_settings import EvaluationSettings
from dsn_lightning.config.video_counts import fused_basis
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.fusion import Fusion, fuse
from dsn_lightning.evaluation.outcomes import StoredEvaluation
from dsn_lightning.evaluation.scores_file import SCORES_DIGEST, digest_of_scores
from dsn_lightning.evaluation.splits import kind_of_videos
from dsn_lightning.evaluation.stored import read_evaluation, save_outcomes
from dsn_lightning.files import user_path, write_json
from dsn_lightning.runs.environment import environment
from dsn_lightning.runs.recorded_environment import read_environment
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.selections import Selection


def fuse_stored(settings: EvaluationSettings) -> None:
    """Fuse the evaluations in the folders ``settings.fusion``; write and print the results."""
    selections = build_selections(settings.selection)
    streams = [_read(folder, selections) for folder in settings.fusion or ()]
    fusion = fuse(streams, settings.fusion_weights, name=str(settings.folder))
    console = wide_console()
    if fusion.left_out:
        some = ", ".join(fusion.left_out[:3]) + (", ..." if len(fusion.left_out) > 3 else "")
        line = f"{len(fusion.left_out)} videos left out, which not all evaluations have: {some}"
        console.print(line, soft_wrap=True, markup=False)
    if fusion.unmatched:
        console.print(f"rows left out: {'; '.join(fusion.unmatched)}", soft_wrap=True, markup=False)
    settings.folder.mkdir(parents=True, exist_ok=True)
    with RunFolder(settings.folder).hold():
        _write(fusion, settings, console)


def _read(name: str, selections: Sequence[Selection]) -> StoredEvaluation:
    try:
        return replace(read_evaluation(user_path(name), selections), name=name)
    except UsageError as error:
        raise UsageError(f"fusion={error}") from error


def _write(fusion: Fusion, settings: EvaluationSettings, console: Console) -> None:
    run, weights = RunFolder(settings.folder), list(settings.fusion_weights)
    run.remove_results()
    save_outcomes(fusion.evaluation, run.video_scores)
    facts = environment(fusion=list(settings.fusion or ()), fusion_weights=weights, videos_left_out=fusion.left_out)
    folders = [RunFolder(user_path(folder)) for folder in settings.fusion or ()]
    basis = fused_basis([read_environment(folder) for folder in folders])
    write_json(run.environment_json, {**facts, **basis, SCORES_DIGEST: digest_of_scores(run.video_scores)})
    write_rows(fusion.rows, run)
    first, count = fusion.rows[0], len(fusion.evaluation.video_id)
    title = f"{first['dataset']}, {first['modality']}, {count} {kind_of_videos(first['dataset'])} (rates in %)"
    show_results(fusion.rows, fusion.evaluation, settings, console, title=title)
    console.print(f"written: {settings.folder}")
