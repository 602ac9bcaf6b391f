"""How reading training batches grows: with the length of the video, M, N, T, the batch and the loaders.

    python experiments/speed/growth.py [--videos 12] [--output FILE]

One thing is changed at a time from 17 s videos of 160x120 pixels, 6:3 clips of 8 frames, batches of 4, read in the
training process. Loaders are processes or threads. Each row is a process of its own: milliseconds a video, and the
largest resident memory of it and of a loader.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from timing import print_rows, write_rows
from videos import make, repeat

from dsn_lightning.data.batches import BatchShares, ClipLoader, EpochOrder
from dsn_lightning.data.section_clips import SectionClips, collate
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.video.clip_reader import ClipReader, DecodedFrames
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.time_line import place_on_time_line
from dsn_lightning.video.video_info import VideoInfo


@dataclass(frozen=True)
class Load:
    """What is read."""

    seconds: int = 17
    sections: int = 6
    clips: int = 3
    frames: int = 8
    batch: int = 4
    workers: int = 0
    start: str = "fork"


CHANGES: dict[str, tuple[Any, ...]] = {
    "seconds": (10, 60, 600, 7200),
    "sections": (1, 3, 10),
    "clips": (1, 6, 10),
    "frames": (16, 32),
    "batch": (1, 12),
    "workers": (1, 2),
}


def loads() -> list[Load]:
    changed = [replace(Load(), **{name: value}) for name, values in CHANGES.items() for value in values]
    return [Load(), *changed, *(Load(workers=workers, start="thread") for workers in CHANGES["workers"])]


def measure(load: Load, path: Path, info: VideoInfo, num_videos: int, found: Any) -> None:
    """Read an epoch, and put milliseconds a video and megabytes into ``found``."""
    torch.set_num_threads(1)
    videos = [place_on_time_line(VideoRecord(f"video {i}", path, (0,)), info, None) for i in range(num_videos)]
    crop = Crop((128, 171), 112, scales=(1.143, 1.0, 0.857, 0.75), flip=0.5, corners=True)
    clips = SectionClips(
        videos,
        ClipReader(DecodedFrames(PyAV()), crop, load.frames, 1),
        num_classes=2,
        num_sections=load.sections,
        clips_per_section=load.clips,
        placement="starts",
        seed=0,
    )
    began = time.perf_counter()
    loader = ClipLoader(
        clips,
        batch_sampler=BatchShares(EpochOrder(num_videos, seed=0), load.batch),
        collate_fn=collate,
        num_workers=load.workers,
        start_workers=load.start,
    )
    count = sum(batch["num_videos"] for batch in loader)
    milliseconds = 1000 * (time.perf_counter() - began) / count
    del loader
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    own, workers = (resource.getrusage(who).ru_maxrss / 1024 for who in whose)
    of_a_loader = round(workers) if load.workers and load.start == "fork" else "-"
    found.put({"ms_a_video": round(milliseconds, 1), "mb": round(own), "mb_of_a_loader": of_a_loader})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=12, help="in an epoch")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as place:
        short = Path(place, "10.mp4")
        make(short, 10, height=120, width=160, keyint=40)
        infos: dict[int, tuple[Path, VideoInfo]] = {}
        for load in loads():
            if load.seconds not in infos:
                path = Path(place, f"{load.seconds}.mp4")
                if load.seconds % 10:
                    make(path, load.seconds, height=120, width=160, keyint=40)
                elif load.seconds > 10:
                    repeat(short, path, load.seconds // 10)
                infos[load.seconds] = path, PyAV().probe(path)
            found = context.SimpleQueue()
            process = context.Process(target=measure, args=(load, *infos[load.seconds], arguments.videos, found))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{load}: the process ended with {process.exitcode}")
            rows.append({**asdict(load), **found.get()})
    print_rows(rows)
    write_rows(arguments.output, rows, videos=arguments.videos)
    return 0


if __name__ == "__main__":
    sys.exit(main())
