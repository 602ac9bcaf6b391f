"""Makes untrimmed videos in ActivityNet's layout by joining clips of HMDB51: videos in which a sampler has a task.

    python experiments/join_videos.py HMDB51 OUTPUT [--from official|training] [--seed 0]

Each video has one of ten classes. A third of its time shows that action, the rest shows clips of any other class. The
annotation file has the time spans of the action; training never reads them.

--from official: training videos consist of the clips that split 1 trains on, validation videos of those that it tests
on. --from training: both consist of clips that split 1 trains on, and no film of a class is in both: a development set,
on which settings can be chosen without the test clips.

    dsn-train dataset=activitynet dataset.root=OUTPUT backbone=mobilenet_v2 weights=imagenet M=6 N=3
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from rich.progress import track

from dsn_lightning.datasets.hmdb51 import Hmdb51
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.stateless_random import stateless_rng
from dsn_lightning.video.pyav_decoder import PyAV

CLASSES = (
    "brush_hair",
    "climb_stairs",
    "golf",
    "kick_ball",
    "pour",
    "pullup",
    "push",
    "shoot_bow",
    "shoot_gun",
    "swing_baseball",
)
FPS, SIZE = 30, (120, 160)
NUM_VIDEOS = {"training": 24, "validation": 20}  # of each class
NUM_CLIPS = (12, 16)  # of a video: minimum, maximum
NUM_ACTIONS = (3, 6)  # those that show the labelled action: minimum, maximum
MAX_FRAMES = 40  # of a clip, from its middle

Clips = Mapping[str, Sequence[VideoRecord]]


def clips_by_subset(root: Path, source_of_clips: str, seed: int) -> dict[str, dict[str, list[VideoRecord]]]:
    """Return the clips that exist, by subset and class: ``training`` or ``validation`` -> class -> clips.

    Args:
        root: folder of HMDB51.
        source_of_clips: ``official`` or ``training``.
        seed: draws the films that ``training`` holds out for validation.

    Raises:
        UsageError: a class has too few clips.
    """
    source = Hmdb51(str(root))
    found: dict[str, dict[str, list[VideoRecord]]] = {name: defaultdict(list) for name in NUM_VIDEOS}
    by_class: dict[str, list[VideoRecord]] = defaultdict(list)
    for record in source.records("train"):
        if record.path.exists():
            by_class[source.classes[record.labels[0]]].append(record)
    for name, clips in by_class.items():
        held = held_out(name, clips, seed) if source_of_clips == "training" else set()
        for record in clips:
            found["validation" if record.group in held else "training"][name].append(record)
    for record in source.records("test") if source_of_clips == "official" else ():
        if record.path.exists():
            found["validation"][source.classes[record.labels[0]]].append(record)
    for subset, classes in found.items():
        for name in CLASSES:
            if len(classes[name]) < NUM_ACTIONS[1]:
                raise UsageError(
                    f"{root}: class {name} needs at least {NUM_ACTIONS[1]} clips for {subset}, got {len(classes[name])}"
                )
    return found


def held_out(name: str, clips: Sequence[VideoRecord], seed: int) -> set[str | None]:
    """Return films of a class that together have at least a third of its clips."""
    films = sorted({str(record.group) for record in clips})
    held: set[str | None] = set()
    for i in stateless_rng(seed, name, "held out").permutation(len(films)):
        if 3 * sum(record.group in held for record in clips) < len(clips):
            held.add(films[i])
    return held


def draw_clips(label: str, clips: Clips, rng: np.random.Generator) -> list[tuple[str, VideoRecord]]:
    """Return the clips of one video in their order, each with its class and none of them twice."""
    count = int(rng.integers(NUM_CLIPS[0], NUM_CLIPS[1] + 1))
    actions = int(rng.integers(NUM_ACTIONS[0], NUM_ACTIONS[1] + 1))
    action = [(label, clips[label][i]) for i in rng.choice(len(clips[label]), actions, replace=False)]
    other_classes = sorted(name for name in clips if name != label and clips[name])
    names = [other_classes[i] for i in rng.integers(len(other_classes), size=count - actions)]
    pools = {name: list(rng.permutation(len(clips[name]))) for name in sorted(set(names))}
    rest = [(name, clips[name][pools[name].pop()]) for name in names if pools[name]]
    both = action + rest  # fewer than ``count`` where a class is drawn more often than it has clips
    return [both[i] for i in rng.permutation(len(both))]


def write_video(path: Path, label: str, parts: Sequence[tuple[str, VideoRecord]]) -> tuple[float, list[list[float]]]:
    """Write a video and return its length and the segments that show its action, in seconds; neighbours are merged."""
    decoder, frame_number = PyAV(), 0
    segments: list[list[int]] = []
    with av.open(str(path), "w") as container:
        # with AVX-512, the macroblock tree does not give the same bytes each time for frames as small as these
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast", "mbtree": "0"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        stream.codec_context.thread_count = 1  # libx264's output depends on it
        for name, record in parts:
            frames = list(decoder.frames(record.path, SIZE))
            first = max(0, len(frames) - MAX_FRAMES) // 2
            began = frame_number
            for image in frames[first : first + MAX_FRAMES]:
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = frame_number, Fraction(1, FPS)
                container.mux(stream.encode(frame))
                frame_number += 1
            if name == label and segments and segments[-1][1] == began:
                segments[-1][1] = frame_number
            elif name == label:
                segments.append([began, frame_number])
        container.mux(stream.encode(None))
    seconds = [[round(start / FPS, 3), round(end / FPS, 3)] for start, end in segments]
    return round(frame_number / FPS, 3), seconds


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hmdb51", type=Path, help="folder of HMDB51 as dataset=hmdb51 reads it; may be incomplete")
    parser.add_argument("output", type=Path)
    parser.add_argument("--from", dest="source_of_clips", choices=("official", "training"), default="official")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(given)
    try:
        found = clips_by_subset(arguments.hmdb51, arguments.source_of_clips, arguments.seed)
    except UsageError as error:
        parser.error(str(error))
    videos = arguments.output / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    nodes = [{"nodeName": "Root", "nodeId": 0, "parentName": None, "parentId": None}]
    nodes += [{"nodeName": name, "nodeId": i, "parentName": "Root", "parentId": 0} for i, name in enumerate(CLASSES, 1)]
    database: dict[str, dict[str, Any]] = {}
    wanted = [(s, label, i) for s, count in NUM_VIDEOS.items() for label in CLASSES for i in range(count)]
    for subset, label, i in track(wanted, "joining"):
        video_id = f"{subset}_{label}_{i}"
        parts = draw_clips(label, found[subset], stateless_rng(arguments.seed, video_id))
        duration, segments = write_video(videos / f"v_{video_id}.mp4", label, parts)
        database[video_id] = {
            "duration": duration,
            "subset": subset,
            "resolution": f"{SIZE[1]}x{SIZE[0]}",
            "url": "",
            "annotations": [{"label": label, "segment": segment} for segment in segments],
        }
    content = {"version": "VERSION 1.3", "taxonomy": nodes, "database": database}
    (arguments.output / "activity_net.v1-3.min.json").write_text(json.dumps(content))
    shown = sum(end - start for v in database.values() for start, end in (a["segment"] for a in v["annotations"]))
    total = sum(v["duration"] for v in database.values())
    print(
        f"{len(database)} videos, {total / len(database):.1f} s each, {shown / total:.0%} of the time shows the action"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
