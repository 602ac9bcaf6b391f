"""Fig. 5 from a finished evaluation: pictures, probabilities and times of the clips that a sampler ranks."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from dsn_lightning.commands.build import build_datamodule
from dsn_lightning.commands.held_out import evaluated, name_in_results
from dsn_lightning.commands.run import write_json
from dsn_lightning.evaluation.figures import contact_sheets, most_and_least
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.splits import kind_of_videos
from dsn_lightning.files import write_atomically
from dsn_lightning.selections.scheme import softmax
from reproduce.estimates import first_of


def show_clips(
    cfg: DictConfig, evaluation: Path, folder: Path, *, videos: int, pick: int, console: Console
) -> list[dict[str, Any]]:
    """Draw and print the two most and the two least probable clips of some videos, and write them to ``folder``.

    Args:
        cfg: of the DSN run.
        evaluation: folder with its ``clip_scores.npz``.
        folder: gets ``<dataset>.{png,md,csv,json}``.
        videos: how many, at most all.
        pick: seed that draws them.
        console: where the table goes.

    Returns:
        One line a clip: ``video, class, rank, probability, start_seconds, shows_action`` (None where no span is known).
    """
    data = build_datamodule(cfg)
    data.prepare_data()
    subset = evaluated(cfg)
    data.setup("validate" if subset == "val" else "test")
    scores = ClipScores.load(evaluation / "clip_scores.npz")
    scheme = scores.scheme(first_of(cfg.test.M), cfg.test.N)
    own = {video.record.video_id: video for video in data.videos(subset)}
    there = [own[str(video_id)] for video_id in scores.video_id]
    chosen = np.sort(np.random.default_rng(pick).permutation(len(there))[:videos])
    known = scores.videos()
    lines: list[dict[str, Any]] = []
    for v in chosen:
        grid = scheme.grid(there[v].num_frames)
        policy = softmax(known[v].policies["dsn"][grid.shape]).ravel()
        picks = most_and_least(policy)
        shown = scores.shows_action(int(v), grid.ravel()[list(picks.values())])
        for i, (rank, clip) in enumerate(picks.items()):
            lines.append({
                "video": str(scores.video_id[v]),
                "class": ", ".join(map(str, scores.classes[scores.targets[v] > 0])),
                "rank": rank,
                "probability": float(policy[clip]),
                "start_seconds": float(grid.ravel()[clip] / there[v].fps),
                "shows_action": None if shown is None else bool(shown[i]),
            })  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    name = folder / name_in_results(cfg)
    picture = Path(f"{name}.png")
    contact_sheets(scores, "dsn", scheme, there, chosen, data.reader, picture)
    write_json(Path(f"{name}.json"), lines)
    drawn_from = f"{len(there)} {kind_of_videos(name.name)}"
    _write_tables(lines, name, console, title=f"{len(chosen)} of {drawn_from}, drawn with seed {pick}")
    console.print(f"written: {picture}, {name.name}.md, {name.name}.csv, {name.name}.json", soft_wrap=True)
    return lines


def _write_tables(lines: list[dict[str, Any]], name: Path, console: Console, *, title: str) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_atomically(Path(f"{name}.csv"), text.getvalue())
    marks = {None: "-", True: "yes", False: "no"}
    cells = [
        [line["video"], line["class"], line["rank"], f"{line['probability']:.3f}", f"{line['start_seconds']:.1f}",
         marks[line["shows_action"]]] for line in lines
    ]  # fmt: skip
    header = ["video", "class", "rank", "probability in its section", "seconds", "shows the action"]
    rule = ["---"] * len(header)
    write_atomically(
        Path(f"{name}.md"), f"{title}\n\n" + "".join(f"| {' | '.join(c)} |\n" for c in (header, rule, *cells))
    )
    table = Table(*header, title=title, title_justify="left")
    for line in cells:
        table.add_row(*line)
    console.print(table)
