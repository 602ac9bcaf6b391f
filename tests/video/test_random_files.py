"""Files with random codecs, containers and options: any frames are those of FFmpeg's sequential decode."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dsn_lightning.video import pyav_decoder as decoding
from dsn_lightning.video.pyav_decoder import PyAV
from helpers.encoded_videos import everything, moving_picture

os.environ["SVT_LOG"] = "0"

CODECS = {  # encoder -> containers, pixel formats
    "libx264": ("mp4 mkv mov avi ts flv m2ts m4v", "yuv420p yuv422p yuv444p yuv420p10le gray"),
    "libx265": ("mp4 mkv ts mov", "yuv420p yuv420p10le"),
    "mpeg4": ("avi mp4 mkv 3gp asf ts", "yuv420p"),
    "mpeg2video": ("mpg ts vob mkv avi m2ts", "yuv420p"),
    "mpeg1video": ("mpg avi ts", "yuv420p"),
    "libvpx": ("webm mkv", "yuv420p"),
    "libvpx-vp9": ("webm mp4 mkv", "yuv420p yuv444p"),
    "wmv2": ("wmv asf avi", "yuv420p"),
    "flv1": ("flv avi", "yuv420p"),
    "msmpeg4": ("avi asf", "yuv420p"),
    "mjpeg": ("avi mov mkv", "yuvj420p yuvj444p"),
    "prores": ("mov mkv", "yuv422p10le"),
    "ffv1": ("mkv avi", "yuv420p gray gray16le bgra"),
    "huffyuv": ("avi", "yuv422p rgb24"),
    "utvideo": ("avi", "yuv420p"),
    "qtrle": ("mov", "rgb24 rgb555be"),
    "png": ("mov", "rgb24 gray rgba rgb48be"),
    "snow": ("avi mkv", "yuv420p"),
}


def write(folder: Path, rng: np.random.Generator) -> Path:
    """Write a file with random settings."""
    codec = str(rng.choice(list(CODECS)))
    extension, pixels = (str(rng.choice(words.split())) for words in CODECS[codec])
    options = {"g": str(rng.choice([1, 5, 12, 30, 250]))}
    if codec in ("libx264", "mpeg4", "mpeg2video", "mpeg1video"):
        options["bf"] = str(rng.integers(4))
    if codec == "libx264":
        extra = ["", "open-gop=1:keyint=10:scenecut=0", "intra-refresh=1", "interlaced=1", "ref=5", "sliced-threads=1"]
        options["x264-params"] = str(rng.choice(extra))
    if codec == "libx265":
        options["x265-params"] = "log-level=none" + str(rng.choice(["", ":open-gop=1:keyint=10", ":open-gop=0"]))
    if codec.startswith("libvpx"):
        options |= {"cpu-used": "8", "auto-alt-ref": str(rng.integers(2)), "lag-in-frames": str(rng.choice([0, 10]))}
    if codec == "snow":
        options["strict"] = "-2"
    rate = Fraction(str(rng.choice(["25", "30000/1001", "24", "50"])))
    container = {"movflags": "frag_keyframe+empty_moov"} if extension in ("mp4", "mov") and rng.random() < 0.2 else {}
    path = folder / f"{codec}_{pixels}.{extension}"
    with av.open(path, "w", options=container, format="mpegts" if extension == "m2ts" else None) as out:
        stream = out.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = 96, 128
        stream.pix_fmt, stream.codec_context.thread_count = pixels, 1
        for i, image in enumerate(moving_picture(int(rng.integers(2, 70)))):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, 1 / rate
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def assert_all_sets_of_frames_are_right(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    path = write(folder, rng)
    whole = everything(path)
    info = PyAV().probe(path)
    assert info.num_frames == len(whole), path.name
    for cost in (0, decoding._SEEK_COST):
        monkeypatch.setattr(decoding, "_SEEK_COST", cost)
        sets = [[0], [len(whole) - 1], *([int(i)] for i in rng.integers(0, len(whole), 6))]
        sets += [sorted(set(rng.integers(0, len(whole), 5).tolist())) for _ in range(3)]
        for indices in sets:
            found = PyAV().read(path, indices, whole.shape[1:3], info)
            assert np.array_equal(found, whole[indices]), (path.name, seed, indices)


@pytest.mark.parametrize("seed", range(24))
def test_frames_are_those_of_the_whole(seed, tmp_path, monkeypatch):
    assert_all_sets_of_frames_are_right(seed, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("tens", range(20))
def test_frames_of_200_files_are_those_of_the_whole(tens, tmp_path, monkeypatch):
    for seed in range(100 + 10 * tens, 110 + 10 * tens):
        assert_all_sets_of_frames_are_right(seed, tmp_path, monkeypatch)
