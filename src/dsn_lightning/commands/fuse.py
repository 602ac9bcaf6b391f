"""dsn-evaluate fusion=[A,B]: two-stream results from the scores that two evaluations have stored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from dsn_lightning.commands.comparing import write_statistics
from dsn_lightning.commands.held_out import evaluated
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.figures import class_figure, cost_figure
from dsn_lightning.evaluation.fusion import Fusion, fuse
from dsn_lightning.evaluation.outcomes import StoredEvaluation
from dsn_lightning.evaluation.results import FIELDS, results_table
from dsn_lightning.evaluation.splits import kind_of_videos
from dsn_lightning.evaluation.stored import read_evaluation, save_outcomes
from dsn_lightning.files import write_atomically, write_json
from dsn_lightning.runs import RunFolder
from dsn_lightning.runs.environment import environment
from dsn_lightning.selections import Selection
from dsn_lightning.text_tables import csv_text

_NOT_FOR_FUSION = ("checkpoint", "baseline", "dsn_fixed", "max_response", "test.M", "test.N", "dataset.root", "logger")


def fuse_stored(cfg: DictConfig) -> None:
    """Fuse the evaluations in the folders ``cfg.fusion``; write and print the results.

    Raises:
        UsageError: a folder holds no evaluation, they do not fit each other, or a key is given that means nothing here.
    """
    for key in _NOT_FOR_FUSION:
        if value := OmegaConf.select(cfg, key):
            raise UsageError(f"{key}={value}: fusion= reads stored scores and takes no {key}")
    if evaluated(cfg) == "val":
        raise UsageError(
            "test.subset=val: fusion= reads stored scores and takes no test.subset; fuse evaluations with it"
        )
    if not OmegaConf.is_list(cfg.fusion) or not OmegaConf.is_list(cfg.fusion_weights):
        raise UsageError("fusion and fusion_weights: must be lists, such as fusion=[RGB,FLOW] fusion_weights=[1,1.5]")
    for weight in cfg.fusion_weights:
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise UsageError(f"fusion_weights={list(cfg.fusion_weights)}: must be numbers of at least 0")
    selections: list[Selection] = [instantiate(s, _convert_="all") for s in cfg.selection.values() if s is not None]
    streams = [_read(str(folder), selections) for folder in cfg.fusion]
    run_dir = Path(cfg.run_dir)
    fusion = fuse(streams, list(cfg.fusion_weights), name=str(run_dir))
    console = Console(width=max(Console().width, 110))
    if fusion.left_out:
        some = ", ".join(fusion.left_out[:3]) + (", ..." if len(fusion.left_out) > 3 else "")
        console.print(f"{len(fusion.left_out)} videos left out, which not all have: {some}", soft_wrap=True)
    if fusion.unmatched:
        console.print(f"rows left out: {'; '.join(fusion.unmatched)}", soft_wrap=True)
    run_dir.mkdir(parents=True, exist_ok=True)
    with RunFolder(run_dir).hold():
        _write(fusion, cfg, run_dir, console)


def _write(fusion: Fusion, cfg: DictConfig, run_dir: Path, console: Console) -> None:
    run = RunFolder(run_dir)
    save_outcomes(fusion.evaluation, run.video_scores)
    write_json(run.results_json, fusion.rows)
    write_atomically(run.results_csv, csv_text(fusion.rows, FIELDS))
    write_json(
        run.environment_json,
        environment(fusion=list(cfg.fusion), fusion_weights=list(cfg.fusion_weights), videos_left_out=fusion.left_out),
    )
    first, count = fusion.rows[0], len(fusion.evaluation.video_id)
    title = f"{first['dataset']}, {first['modality']}, {count} {kind_of_videos(first['dataset'])} (rates in %)"
    console.print(results_table(fusion.rows, title=title).terminal())
    statistics = None
    if number := cfg.test.get("bootstrap", 0):
        statistics = write_statistics(fusion.evaluation, run_dir, number=number, console=console)
    if cfg.test.get("figures", True):
        run.figures.mkdir(exist_ok=True)
        cost_figure(fusion.rows, run.figures / "accuracy_vs_gmacs.png")
        if statistics is not None:
            class_figure(statistics, run.figures / "classes.png")
    console.print(f"written: {run_dir}")


def _read(name: str, selections: Sequence[Selection]) -> StoredEvaluation:
    try:
        return replace(read_evaluation(Path(name).expanduser(), selections), name=name)
    except UsageError as error:
        raise UsageError(f"fusion={error}") from error
