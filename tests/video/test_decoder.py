"""The contract of a decoder, for each decoder of video files: real files, unusable files."""

import os
from pathlib import Path

import av
import numpy as np
import pytest

from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.torchcodec_decoder import TorchCodec
from dsn_lightning.video.video_info import VideoError, VideoInfo, pack
from helpers.encoded_videos import assert_exact, everything, need_torchcodec

ASSETS = [
    "av1_video.mkv",
    "bikes.mp4",
    "h264_10bits.mp4",
    "h265_video.mp4",
    "mmaction2_demo.mp4",
    "nasa_13013.mp4",
    "nasa_13013_rotated.mp4",
    "ntu_irregular_timestamps.avi",
    "test_non_zero_start.mp4",
    "testsrc2_mpeg4.mp4",
    "testsrc2_odd_height_and_width_vp9.mp4",
    "video_90.mov",
    "hmdb51_original/*",
]


@pytest.mark.parametrize("name", ASSETS)
@pytest.mark.parametrize("decoder", [PyAV(), TorchCodec()], ids=["pyav", "torchcodec"])
def test_awkward_real_files_are_exact(decoder, name, real_data, monkeypatch):
    if isinstance(decoder, TorchCodec):
        need_torchcodec()
    found = sorted((real_data / "assets").glob(name))
    assert found
    for path in found[:: max(1, len(found) // 4)]:
        whole = everything(path)
        assert_exact(decoder, path, whole, monkeypatch, draws=1 if whole[0].size > 10**6 else 2)


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        out.mux(stream.encode(sound))
        out.mux(stream.encode(None))


UNUSABLE = {
    "empty.mp4": (lambda p: p.write_bytes(b""), "cannot be decoded"),
    "garbage.mp4": (lambda p: p.write_bytes(b"not a video at all" * 100), "cannot be decoded"),
    "zeros.avi": (lambda p: p.write_bytes(bytes(5000)), "cannot be decoded"),
    "folder.mp4": (lambda p: p.mkdir(), "is a folder"),
    "absent.mp4": (lambda p: None, "no such video file"),
    "sound.mp4": (write_sound, "no video stream"),
    "pipe.mp4": (os.mkfifo, "no such video file"),
}


@pytest.mark.parametrize("decoder", [PyAV(20), TorchCodec(20)], ids=["pyav", "torchcodec"])
@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_files_are_refused_with_their_name(name, decoder, tmp_path):
    if isinstance(decoder, TorchCodec):
        need_torchcodec()
    make, reason = UNUSABLE[name]
    make(tmp_path / name)
    info = VideoInfo(50, 25, 34, 34, stamps=pack(range(50)))
    for call in (lambda: decoder.probe(tmp_path / name), lambda: next(decoder.frames(tmp_path / name))):
        with pytest.raises(VideoError, match=f"{name}: {reason}"):
            call()
    with pytest.raises(VideoError, match=name):
        decoder.read(tmp_path / name, [3], (34, 34), info)
