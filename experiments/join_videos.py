"""Untrimmed videos in ActivityNet's layout, joined out of HMDB51's clips: what a sampler is needed for, at hand.

    python experiments/join_videos.py HMDB51 OUTPUT [--from official|training] [--seed 0]

A video has one of ten classes. A third of its time shows that action, the rest clips of any other class. Where
the action is stands in the annotation file, which training never looks at.

--from official: training videos out of the clips that split 1 trains on, validation videos out of those that it tests
on. --from training: both out of the clips that split 1 trains on, no film of a class on both sides: a development set,
on which choices can be made without a look at the test clips.

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

CLASSES = ("brush_hair", "climb_stairs", "golf", "kick_ball", "pour", "pullup", "push", "shoot_bow", "shoot_gun",
           "swing_baseball")  # fmt: skip
FPS, SIZE = 30, (120, 160)
NUM_VIDEOS = {"training": 24, "validation": 20}  # of each class
NUM_CLIPS = (12, 16)  # of a video, at least and at most
NUM_ACTIONS = (3, 6)  # of them, those that show the labelled action
LONGEST = 40  # frames taken of a clip, out of its middle

Clips = Mapping[str, Sequence[VideoRecord]]


def sides(root: Path, which: str, seed: int) -> dict[str, dict[str, list[VideoRecord]]]:
    """Return the clips of each subset by class: ``training`` and ``validation`` -> class -> clips that are there."""
    source = Hmdb51(str(root))
    found: dict[str, dict[str, list[VideoRecord]]] = {name: defaultdict(list) for name in NUM_VIDEOS}
    by_class: dict[str, list[VideoRecord]] = defaultdict(list)
    for record in source.records("train"):
        if record.path.exists():
            by_class[source.classes[record.labels[0]]].append(record)
    for name, clips in by_class.items():
        held = held_out(name, clips, seed) if which == "training" else set()
        for record in clips:
            found["validation" if record.group in held else "training"][name].append(record)
    for record in source.records("test") if which == "official" else ():
        if record.path.exists():
            found["validation"][source.classes[record.labels[0]]].append(record)
    for subset, classes in found.items():
        for name in CLASSES:
            if len(classes[name]) < NUM_ACTIONS[1]:
                raise UsageError(f"{root}: {len(classes[name])} clips of {name} for {subset} are too few")
    return found


def held_out(name: str, clips: Sequence[VideoRecord], seed: int) -> set[str | None]:
    """Return films of a class that together have a third of its clips, or a little more."""
    films = sorted({str(record.group) for record in clips})
    held: set[str | None] = set()
    for i in stateless_rng(seed, name, "held out").permutation(len(films)):
        if 3 * sum(record.group in held for record in clips) < len(clips):
            held.add(films[i])
    return held


def drawn(label: str, clips: Clips, rng: np.random.Generator) -> list[tuple[str, VideoRecord]]:
    """Return the clips of one video in their order, each with its class; none comes twice."""
    count = int(rng.integers(NUM_CLIPS[0], NUM_CLIPS[1] + 1))
    actions = int(rng.integers(NUM_ACTIONS[0], NUM_ACTIONS[1] + 1))
    own = [(label, clips[label][i]) for i in rng.choice(len(clips[label]), actions, replace=False)]
    other_classes = sorted(name for name in clips if name != label and clips[name])
    names = [other_classes[i] for i in rng.integers(len(other_classes), size=count - actions)]
    pools = {name: list(rng.permutation(len(clips[name]))) for name in sorted(set(names))}
    rest = [(name, clips[name][pools[name].pop()]) for name in names if pools[name]]
    both = own + rest  # fewer than ``count`` where a class comes more often than it has clips
    return [both[i] for i in rng.permutation(len(both))]


def write_video(path: Path, label: str, parts: Sequence[tuple[str, VideoRecord]]) -> tuple[float, list[list[float]]]:
    """Write a video; return its seconds and the segments that show its action, neighbours joined."""
    decoder, frame_number = PyAV(), 0
    segments: list[list[int]] = []
    with av.open(str(path), "w") as container:
        # its macroblock tree does not give the same bytes each time for frames as small as these where there is AVX-512
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast", "mbtree": "0"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        stream.codec_context.thread_count = 1  # libx264's output depends on it
        for name, record in parts:
            frames = list(decoder.frames(record.path, SIZE))
            first = max(0, len(frames) - LONGEST) // 2
            began = frame_number
            for image in frames[first : first + LONGEST]:
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
    parser.add_argument("hmdb51", type=Path, help="HMDB51, as dataset=hmdb51 reads it; it need not be complete")
    parser.add_argument("output", type=Path)
    parser.add_argument("--from", dest="which", choices=("official", "training"), default="official")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(given)
    try:
        found = sides(arguments.hmdb51, arguments.which, arguments.seed)
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
        parts = drawn(label, found[subset], stateless_rng(arguments.seed, video_id))
        duration, segments = write_video(videos / f"v_{video_id}.mp4", label, parts)
        marks = [{"label": label, "segment": segment} for segment in segments]
        database[video_id] = {"duration": duration, "subset": subset, "resolution": f"{SIZE[1]}x{SIZE[0]}",
                              "url": "", "annotations": marks}  # fmt: skip
    content = {"version": "VERSION 1.3", "taxonomy": nodes, "database": database}
    (arguments.output / "activity_net.v1-3.min.json").write_text(json.dumps(content))
    shown = sum(end - start for v in database.values() for start, end in (a["segment"] for a in v["annotations"]))
    total = sum(v["duration"] for v in database.values())
    print(f"{len(database)} videos, {total / len(database):.1f} s each, {shown / total:.0%} of it shows the action")
    return 0


if __name__ == "__main__":
    sys.exit(main())
