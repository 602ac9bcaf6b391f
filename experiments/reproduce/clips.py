"""Fig. 5 from a finished evaluation: pictures, probabilities and times of the clips that a sampler ranks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from dsn_lightning.evaluation.figures import contact_sheets, most_and_least
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.splits import kind_of_videos
from dsn_lightning.files import write_atomically, write_json
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.selections.scheme import softmax
from dsn_lightning.text_tables import TextTable, csv_text
from reproduce.configurations import Settings, build_datamodule

HEADER = ("video", "class", "rank", "probability in its section", "seconds", "shows the action")


def show_clips(
    settings: Settings, evaluation: Path, folder: Path, *, num_videos: int, pick: int, console: Console
) -> list[dict[str, Any]]:
    """Draw and print the two most and the two least probable clips of some videos, and write them to ``folder``.

    Args:
        settings: of the DSN run.
        evaluation: folder of the evaluation, with its ``clip_scores.npz``.
        folder: gets ``<dataset>.{png,md,csv,json}``.
        num_videos: number of videos, at most all.
        pick: seed that draws the videos.
        console: where the table is printed.

    Returns:
        One line a clip: ``video, class, rank, probability, start_seconds, shows_action`` (None where the data set has
        no time spans).
    """
    data = build_datamodule(settings)
    data.prepare_data()
    subset = settings.test.subset
    data.setup("validate" if subset == "val" else "test")
    scores = ClipScores.load(RunFolder(evaluation).clip_scores)
    scheme = scores.scheme(settings.test.M[0], settings.test.N)
    by_id = {video.record.video_id: video for video in data.videos(subset)}
    videos = [by_id[str(video_id)] for video_id in scores.video_id]
    chosen = np.sort(np.random.default_rng(pick).permutation(len(videos))[:num_videos])
    known = scores.videos()
    lines: list[dict[str, Any]] = []
    for v in chosen:
        grid = scheme.grid(videos[v].num_frames)
        policy = softmax(known[v].policies["dsn"][grid.shape]).ravel()
        lines += _lines_of_video(scores, int(v), grid.ravel(), policy, fps=videos[v].fps)
    folder.mkdir(parents=True, exist_ok=True)
    name = settings.dataset_in_results
    contact_sheets(scores, "dsn", scheme, videos, chosen, data.reader, folder / f"{name}.png")
    write_json(folder / f"{name}.json", lines)
    write_atomically(folder / f"{name}.csv", csv_text(lines))
    title = f"{len(chosen)} of {len(videos)} {kind_of_videos(name)}, drawn with seed {pick}"
    table = _table(lines, title=title)
    write_atomically(folder / f"{name}.md", f"{title}\n\n{table.markdown()}")
    table.print(console)
    console.print(f"written: {folder / name}.png, {name}.md, {name}.csv, {name}.json", soft_wrap=True)
    return lines


def _lines_of_video(
    scores: ClipScores, video: int, starts: np.ndarray, policy: np.ndarray, *, fps: float
) -> list[dict[str, Any]]:
    """Return a line for each clip of a video that is shown.

    Args:
        scores: of all videos.
        video: which of them.
        starts: first frames of the candidates, (M * N,).
        policy: probability of each candidate in its section, (M * N,).
        fps: frames a second.
    """
    picks = most_and_least(policy)
    shows_action = scores.shows_action(video, starts[list(picks.values())])
    return [
        {
            "video": str(scores.video_id[video]),
            "class": ", ".join(map(str, scores.classes[scores.targets[video] > 0])),
            "rank": rank,
            "probability": float(policy[clip]),
            "start_seconds": float(starts[clip] / fps),
            "shows_action": None if shows_action is None else bool(shows_action[i]),
        }
        for i, (rank, clip) in enumerate(picks.items())
    ]


def _table(lines: Sequence[dict[str, Any]], *, title: str) -> TextTable:
    answers = {None: "-", True: "yes", False: "no"}
    rows = [
        [
            line["video"],
            line["class"],
            line["rank"],
            f"{line['probability']:.1%}",
            f"{line['start_seconds']:.1f}",
            answers[line["shows_action"]],
        ]
        for line in lines
    ]
    return TextTable(HEADER, rows, num_names=len(HEADER), title=title, fold=True)
