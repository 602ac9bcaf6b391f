"""How long an answer takes with DSN's clips and with dense ones, the same classifier in both: R3D-18 and r2d_18.

    python experiments/speed/prediction.py [--rounds 3] [--video FILE] [--output FILE]

Each round answers for one video with 4:3 and 6:3, decoding what the networks look at, and classifies 10 and 20 evenly
spaced clips, one after the other. Prints medians of the time for computing and for decoding, and the ratio of times for
computing beside that of multiply-adds. The weights are random: time does not depend on them. Without a video, a 17 s
H.264 one of 340x256 pixels is made.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from videos import make

from dsn_lightning.config.build import build_recognizer
from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.load_predictor import predictor_of
from dsn_lightning.config.trained import Trained
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.prediction.predictor import DecodedOnce, Effort, Predictor
from dsn_lightning.runs.environment import environment
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.sections import uniform_clip_starts
from dsn_lightning.video.time_line import Video, place_on_time_line

SCHEMES = ((4, 10), (6, 20))
"""M of M:3, and the dense clips that it is compared with."""
CLIPS_PER_SECTION = 3


@dataclass(frozen=True)
class Seconds:
    """What one answer took."""

    computing: float
    decoding: float


def make_predictor() -> Predictor:
    settings = settings_of("backbone=r3d_18", "dataset=hmdb51", f"N={CLIPS_PER_SECTION}", "run_dir=none")
    classes = [str(label) for label in range(400)]
    trained = Trained(build_recognizer(settings, len(classes)).eval(), settings, classes, Path("none"))
    return predictor_of(trained, clips_per_section=CLIPS_PER_SECTION, device=torch.device("cpu"), precision="32-true")


def with_selected_clips(predictor: Predictor, video: Video, num_sections: int) -> Seconds:
    effort = Effort(num_sections, CLIPS_PER_SECTION)
    answer = predictor(video, effort, name="video")
    return Seconds(answer.seconds - answer.decoding_seconds, answer.decoding_seconds)


@torch.inference_mode()
def with_dense_clips(predictor: Predictor, video: Video, num_clips: int) -> Seconds:
    frames, began = DecodedOnce(predictor.reader.read), time.perf_counter()
    starts = uniform_clip_starts(
        video.num_frames, num_clips=num_clips, clip_span=predictor.reader.clip_span, placement=predictor.placement
    )
    clips = replace(predictor.reader, read=frames)(video, starts)
    predictor.model.classify(clips)
    return Seconds(time.perf_counter() - began - frames.seconds, frames.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    predictor = make_predictor()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.video or Path(folder, "video.mp4")
        if arguments.video is None:
            make(path, 17)
        record = VideoRecord("video", path, (0,))
        video = place_on_time_line(record, PyAV().probe(path), fps=None)
        times: dict[str, list[Seconds]] = {}
        for _ in range(arguments.rounds + 1):  # the first one warms up
            for sections, dense in SCHEMES:
                times.setdefault(f"{sections}:3", []).append(with_selected_clips(predictor, video, sections))
                times.setdefault(f"dense {dense}", []).append(with_dense_clips(predictor, video, dense))
    rows = []
    for sections, dense in SCHEMES:
        ours, theirs = (times[name][1:] for name in (f"{sections}:3", f"dense {dense}"))
        costs = predictor.costs
        macs = dense * costs.classifier / (sections * costs.classifier + 3 * sections * costs.observation)
        computing = [median(one.computing for one in group) for group in (ours, theirs)]
        decoding = [median(one.decoding for one in group) for group in (ours, theirs)]
        whole = (computing[1] + decoding[1]) / (computing[0] + decoding[0])
        speed_up = computing[1] / computing[0]
        shares = [d / (c + d) for c, d in zip(computing, decoding, strict=True)]
        rows.append(
            {
                "scheme": f"{sections}:3", "dense_clips": dense, "macs_ratio": macs, "computing_ratio": speed_up,
                "share_of_macs_ratio": speed_up / macs, "whole_ratio": whole, "computing_seconds": computing,
                "decoding_seconds": decoding, "decoding_share": shares,
            }
        )  # fmt: skip
        print(
            f"{sections}:3 against {dense} clips: computing {computing[0]:.2f} and {computing[1]:.2f} s, decoding "
            f"{decoding[0]:.2f} and {decoding[1]:.2f} s; {speed_up:.2f} times as fast ({whole:.2f} with decoding), "
            f"multiply-adds {macs:.2f} times as few: {speed_up / macs:.2f} of it"
        )
    if arguments.output:
        arguments.output.write_text(json.dumps({"rows": rows, "rounds": arguments.rounds, **environment()}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
