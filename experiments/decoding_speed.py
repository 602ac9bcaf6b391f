"""How long reading a video's clips takes: in one pass, by seeking key frames, from a small copy, with torchcodec.

    python experiments/decoding_speed.py [--rounds 5] [--output FILE]

Makes a 10 s and a 120 s H.264 video of 340x256 pixels (a key frame every 250 frames). Each round reads 18 clips of 8
frames at 128x171 from each video in every way, one after the other. Prints the medians in milliseconds, by which the
cost of a seek (`pyav_decoder._SEEK_COST`, in frames) is chosen.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.copies import write_copy
from dsn_lightning.prepare.copy_kinds import SmallCopy
from dsn_lightning.runs.environment import environment
from dsn_lightning.video import pyav_decoder
from dsn_lightning.video.decoder import Decoder, Frames
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.sections import section_clip_starts
from dsn_lightning.video.torchcodec_decoder import TorchCodec

SIZE = (128, 171)
COSTS = (4, 24, 96, 10**9)


def make(path: Path, seconds: int) -> None:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 255, (32, 43, 3)).repeat(8, 0).repeat(8, 1)[:, :340].astype(np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "23", "g": "250", "sc_threshold": "0"})
        stream.height, stream.width, stream.pix_fmt, stream.time_base = 256, 340, "yuv420p", Fraction(1, 25)
        for i in range(25 * seconds):
            image = np.roll(scene, (i, 2 * i), (0, 1))
            image[40:120, 100:200] = rng.integers(0, 255, (80, 100, 1))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))


def reading(decoder: Decoder, path: Path, cost: int) -> Callable[[], Frames]:
    info = PyAV().probe(path)
    starts = section_clip_starts(
        info.num_frames, num_sections=6, clips_per_section=3, clip_span=8, placement="frames"
    ).ravel()
    wanted = np.unique(starts[:, None] + np.arange(8))

    def read() -> Frames:
        pyav_decoder._SEEK_COST = cost
        return decoder.read(path, wanted, SIZE, info)

    return read


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    ways: dict[str, Callable[[], Frames]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for seconds in (10, 120):
            path = folder / f"{seconds}.mp4"
            make(path, seconds)
            copy = SmallCopy.target(folder, folder, path)
            write_copy(path, copy, PyAV().probe(path), decoder=PyAV(), kind=SmallCopy())
            for cost in COSTS:
                name = "one pass" if cost == COSTS[-1] else f"jumps over {cost} frames and more"
                ways[f"{seconds} s, {name}"] = reading(PyAV(), path, cost)
            ways[f"{seconds} s, small copy"] = reading(PyAV(), copy, COSTS[1])
            ways[f"{seconds} s, torchcodec"] = reading(TorchCodec(), path, COSTS[1])
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, read in ways.items():
                began = time.perf_counter()
                try:
                    read()
                except UsageError as error:  # torchcodec is not installed
                    print(f"{name}: {error}", file=sys.stderr)
                    times.pop(name, None)
                    continue
                times[name].append(1000 * (time.perf_counter() - began))
    medians = {name: round(float(np.median(values))) for name, values in times.items() if values}
    for name, median in medians.items():
        print(f"{name:45} {median:6} ms  ({min(times[name]):.0f} to {max(times[name]):.0f})")
    if arguments.output:
        content = {"milliseconds": medians, "rounds": arguments.rounds, **environment()}
        arguments.output.write_text(json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
