"""dsn-evaluate fusion=[A,B]: two-stream results from the scores that two evaluations have stored."""

import json
import zipfile
import zlib
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from dsn_lightning.commands.run import environment, write_json
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.fusion import Stream, fuse
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.table import rich_table, to_csv
from dsn_lightning.files import write_atomically
from dsn_lightning.selection import Selection
from dsn_lightning.visualize import cost_figure

_NOT_FOR_FUSION = ("checkpoint", "baseline", "dsn_fixed", "max_response", "test.M", "test.N", "dataset.root", "logger")


def fuse_stored(cfg: DictConfig) -> None:
    """Fuse the evaluations in the folders ``cfg.fusion``; write and print the results.

    Raises:
        UsageError: a folder holds no evaluation, they do not fit each other, or a key is given that means nothing here.
    """
    for key in _NOT_FOR_FUSION:
        if value := OmegaConf.select(cfg, key):
            raise UsageError(f"{key}={value}: fusion= reads stored scores and takes no {key}")
    if not OmegaConf.is_list(cfg.fusion) or not OmegaConf.is_list(cfg.fusion_weights):
        raise UsageError("fusion and fusion_weights: must be lists, such as fusion=[RGB,FLOW] fusion_weights=[1,1.5]")
    for weight in cfg.fusion_weights:
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise UsageError(f"fusion_weights={list(cfg.fusion_weights)}: must be numbers of at least 0")
    streams = [_read(str(folder)) for folder in cfg.fusion]
    selections: list[Selection] = [instantiate(s, _convert_="all") for s in cfg.selection.values() if s is not None]
    fusion = fuse(streams, list(cfg.fusion_weights), selections)
    console = Console(width=max(Console().width, 110))
    if fusion.left_out:
        some = ", ".join(fusion.left_out[:3]) + (", ..." if len(fusion.left_out) > 3 else "")
        console.print(f"{len(fusion.left_out)} videos left out, which not all have: {some}", soft_wrap=True)
    if fusion.unmatched:
        console.print(f"rows left out, which not all have: {'; '.join(fusion.unmatched)}", soft_wrap=True)
    run_dir = Path(cfg.run_dir)
    (run_dir / "figures").mkdir(parents=True, exist_ok=True)
    write_json(run_dir / "results.json", fusion.rows)
    write_atomically(run_dir / "results.csv", to_csv(fusion.rows))
    write_json(
        run_dir / "environment.json",
        environment(fusion=list(cfg.fusion), fusion_weights=list(cfg.fusion_weights), videos_left_out=fusion.left_out),
    )
    first = fusion.rows[0]
    title = f"{first['dataset']}, {first['modality']}, {fusion.num_videos} test videos (rates in %)"
    console.print(rich_table(fusion.rows, title=title))
    cost_figure(fusion.rows, run_dir / "figures" / "accuracy_vs_gmacs.png")
    console.print(f"written: {run_dir}")


def _read(name: str) -> Stream:
    folder = Path(name).expanduser()
    results, scores = folder / "results.json", folder / "clip_scores.npz"
    for file in (results, scores):
        if not file.is_file():
            raise UsageError(f"fusion={name}: holds no {file.name}; give the folder of a run or of dsn-evaluate")
    try:
        rows = json.loads(results.read_text())
        return Stream(name, rows, ClipScores.load(scores))
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"fusion={name}: cannot be read as an evaluation ({error}); evaluate it again") from error
