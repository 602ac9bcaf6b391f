"""How long reading the clips of a video takes: from the file, a small copy and stored frames, and with other readers.

    python experiments/speed/loading.py [--rounds 7] [--video FILE ...] [--output FILE]

Reads the frames of 6:3 clips of 8 frames (144 of a long video), scaled to 128x171, in turn with each reader; one core,
opening included. ``clips`` also cuts the jittered 112x112 clips of a training. The videos are made (a trimmed clip, one
of 17 s, one of 120 s with a key frame every 250 frames), and further files can be given. Prints CPU milliseconds, and
how far the frames are from those of the package's default reader (of 255, in the mean).
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import av
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from timing import in_turn, print_rows, write_rows
from videos import make

from dsn_lightning.data.uncut_batches import uncut_batch
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.copies import copy_info, write_copy
from dsn_lightning.prepare.copy_kinds import CopyKind, FrameCopy, SmallCopy
from dsn_lightning.prepare.copy_shards import CopyShards
from dsn_lightning.video.clip_reader import ClipReader, DecodedFrames
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.decoder import Decoder, Frames
from dsn_lightning.video.motion_jpeg import MotionJpeg
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.sections import IntArray, section_clip_starts
from dsn_lightning.video.time_line import place_on_time_line
from dsn_lightning.video.torchcodec_decoder import TorchCodec
from dsn_lightning.video.video_info import VideoInfo

HEIGHT, WIDTH = 128, 171
CROP = Crop((HEIGHT, WIDTH), 112, scales=(1.143, 1.0, 0.857, 0.75), flip=0.5, corners=True)
MADE: dict[str, dict[str, Any]] = {
    "trimmed 3 s, MPEG-4 320x240": {"seconds": 3, "height": 240, "width": 320, "codec": "mpeg4", "keyint": 12},
    "untrimmed 17 s, H.264 320x240": {"seconds": 17, "height": 240, "width": 320, "keyint": 40},
    "untrimmed 120 s, H.264 340x256": {"seconds": 120},
}


def plain_pyav(path: Path, wanted: IntArray) -> NDArray[np.uint8]:
    """The loop of PyAV's documentation: decode in order, convert what is wanted."""
    found, needed, last = [], set(wanted.tolist()), int(wanted[-1])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for index, frame in enumerate(container.decode(stream)):
            if index in needed:
                found.append(frame.to_ndarray(format="rgb24", width=WIDTH, height=HEIGHT))
            if index == last:
                break
    return np.stack(found)


def with_decord(path: Path, wanted: IntArray) -> NDArray[np.uint8]:
    """decord scales while it decodes."""
    import decord

    frames = decord.VideoReader(str(path), width=WIDTH, height=HEIGHT, num_threads=1).get_batch(wanted)
    return np.asarray(frames.asnumpy())


def with_torchcodec(path: Path, wanted: IntArray) -> NDArray[np.uint8]:
    """torchcodec in the seek mode that opens fastest, and torch's filter for frames of 8 bits."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="approximate")
    frames = decoder.get_frames_at(wanted.tolist()).data
    scaled = F.interpolate(frames, (HEIGHT, WIDTH), mode="bilinear", antialias=True)
    return np.asarray(scaled.permute(0, 2, 3, 1))


OTHERS = {"plain PyAV loop": plain_pyav, "decord": with_decord, "torchcodec": with_torchcodec}


def ways_of(path: Path, folder: Path) -> tuple[dict[str, Callable[[], Frames]], dict[str, Callable[[], Any]]]:
    """Return ways to read a video's frames, and to read its clips: cut, or as a batch that a device cuts."""
    info = PyAV().probe(path)
    starts = section_clip_starts(info.num_frames, num_sections=6, clips_per_section=3, clip_span=8, placement="frames")
    wanted = np.unique((starts[..., None] + np.arange(8)).clip(0, info.num_frames - 1))
    frames: dict[str, Callable[[], Frames]] = {}
    clips: dict[str, Callable[[], Any]] = {}
    whole = np.ones(starts.shape, bool)

    def add(name: str, decoder: Decoder, file: Path, of_file: VideoInfo) -> None:
        video = place_on_time_line(VideoRecord("video", path, (0,)), info, None, copy=(file, of_file))
        reader = ClipReader(DecodedFrames(decoder), CROP, 8, 1)
        frames[name] = partial(decoder.read, file, wanted, (HEIGHT, WIDTH), of_file)
        clips[f"clips from {name}"] = lambda: reader(video, starts, np.random.default_rng(0))
        if name == "stored frames":
            uncut = partial(reader.read_uncut, video, starts, whole)
            clips[f"uncut clips from {name}"] = lambda: uncut_batch([uncut(np.random.default_rng(0))])

    add("the file", PyAV(), path, info)
    kinds: dict[str, tuple[CopyKind, Decoder]] = {
        "the small copy": (SmallCopy(), PyAV()),
        "stored frames": (FrameCopy(), MotionJpeg()),
    }
    for name, (kind, decoder) in kinds.items():
        copy = folder / f"copy{kind.suffix}"
        write_copy(path, copy, info, decoder=PyAV(), kind=kind)
        add(name, decoder, copy, copy_info(copy, info))
    add("stored frames in a shard", MotionJpeg(), *in_shard(copy, info, Path(tempfile.mkdtemp(dir=folder))))
    frames["the file, decoder=torchcodec"] = partial(TorchCodec().read, path, wanted, (HEIGHT, WIDTH), info)
    for name, other in OTHERS.items():
        frames[name] = partial(other, path, wanted)
    return frames, clips


def in_shard(copy: Path, info: VideoInfo, folder: Path) -> tuple[Path, VideoInfo]:
    """Pack a copy with others of its size into a shard; return the path that names it there, and what it contains."""
    copies = [folder / f"{number}{copy.suffix}" for number in range(3)]
    for other in copies:
        shutil.copy(copy, other)
    shards = CopyShards.recover(folder)
    shards.pack(shards.plan(copies, [], 10**9))
    return shards.path(copies[1]), copy_info(shards.path(copies[1]), info, shards.find(copies[1]))


def rows_of(name: str, path: Path, folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Time all readers of a video, in turn."""
    frames, clips = ways_of(path, folder)
    found = {}
    for way in list(frames):
        try:
            found[way] = frames[way]()
        except (UsageError, ImportError, RuntimeError) as error:
            print(f"{way}: {str(error).splitlines()[0]}", file=sys.stderr)
            del frames[way]
    times = in_turn({**frames, **clips}, rounds)
    expected = found["the file"].astype(int)
    rows = []
    for way, measured in times.items():
        away = round(float(np.abs(expected - found[way]).mean()), 2) if way in found else "-"
        rows.append({"video": name, "frames": len(expected), "reader": way, **measured.summary(), "away": away})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--video", type=Path, nargs="*", default=[], help="further files")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        paths = {path.name: path for path in arguments.video}
        for number, (name, options) in enumerate(MADE.items()):
            paths[name] = Path(place, f"{number}.{'avi' if options.get('codec') else 'mp4'}")
            make(paths[name], **options)
        for name, path in paths.items():
            rows += rows_of(name, path, Path(place), arguments.rounds)
    print_rows(rows)
    write_rows(arguments.output, rows, rounds=arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
