"""What one evaluation of all methods at M = 1 to 10 saves, against an evaluation for each method and M.

    python experiments/speed/evaluation.py [--videos 12] [--output FILE]

Counts the frames that are decoded and the clips that the classifiers see, and times both, on the embedded data set with
the tiny networks and random weights. Selection methods of one evaluation share frames and scores.
"""

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from timing import print_rows, write_rows

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.config.build import build_datamodule, build_recognizer, build_selections
from dsn_lightning.config.compose import settings_of
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.evaluation.scoring import Networks, ScoringPlan, score_videos
from dsn_lightning.selections import Scheme
from dsn_lightning.video.clip_reader import ClipReader, FrameReader
from dsn_lightning.video.decoder import Frames
from dsn_lightning.video.sections import IntArray
from dsn_lightning.video.time_line import Video


@dataclass
class CountedFrames:
    """Counts the frames that a reader decodes."""

    read: FrameReader
    frames: int = 0

    def __call__(self, video: Video, indices: IntArray, size: tuple[int, int]) -> Frames:
        """Return the frames of the reader."""
        self.frames += len(indices)
        return self.read(video, indices, size)


@dataclass(frozen=True)
class Work:
    """What evaluations took."""

    frames: int
    clips: int
    seconds: float


def evaluate(networks: Networks, data: SectionClipDataModule, plan: ScoringPlan) -> Work:
    """Score the videos of a plan."""
    counted = CountedFrames(data.reader.read)
    reader: ClipReader = replace(data.reader, read=counted)
    began = time.perf_counter()
    scores, _, _ = score_videos(plan, reader, networks, device=torch.device("cpu"))
    return Work(counted.frames, len(scores.clip_start), time.perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    settings = settings_of("dataset=needle", "N=3", "dataset.reading.cache_frames=false", "run_dir=none")
    data = build_datamodule(settings)
    data.prepare_data()
    data.setup("test")
    recognizer = build_recognizer(settings, len(data.classes))
    assert isinstance(recognizer, DSN)
    networks = Networks({"dsn": recognizer, "baseline": recognizer, "max_response": recognizer}, {"dsn": recognizer})
    selections = [s for s in build_selections(settings.selection) if all(networks.can(s, c) for c in s.classifiers)]
    schemes = [
        Scheme(m, 3, data.scheme.clip_span, dense_clips=20, random_draws=1, placement=data.scheme.placement)
        for m in range(1, 11)
    ]
    videos = data.videos("test")[: arguments.videos]
    whole = ScoringPlan(videos, selections, schemes, data.classes, "probabilities")
    parts = [replace(whole, selections=[one], schemes=[scheme]) for one in selections for scheme in schemes]
    together, alone = evaluate(networks, data, whole), [evaluate(networks, data, part) for part in parts]
    rows: list[dict[str, Any]] = []
    for name, works in (("together", [together]), ("one by one", alone)):
        frames, clips, seconds = (sum(getattr(work, key) for work in works) for key in ("frames", "clips", "seconds"))
        per_video = {"frames": round(frames / arguments.videos), "clips": round(clips / arguments.videos)}
        rows.append({"evaluations": name, **per_video, "seconds": round(seconds, 1)})
    print_rows(rows)
    write_rows(arguments.output, rows, videos=arguments.videos, methods=[s.name for s in selections])
    return 0


if __name__ == "__main__":
    sys.exit(main())
