"""torchcodec: the same frames as PyAV, and no bad videos where FFmpeg is missing."""

import sys
from pathlib import Path

import numpy as np
import pytest

from dsn_lightning.errors import UsageError
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.torchcodec_decoder import TorchCodec
from dsn_lightning.video.video_info import VideoError
from helpers.encoded_videos import assert_exact, encode_each_format, everything, need_torchcodec


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return encode_each_format(tmp_path_factory.mktemp("encoded"))


def test_a_missing_ffmpeg_is_not_a_bad_video(encoded, monkeypatch):
    """torchcodec 0.17 looks for FFmpeg when the first video is opened; with this message."""
    decoders = pytest.importorskip("torchcodec.decoders")

    def without_ffmpeg(*_: object, **__: object) -> None:
        raise RuntimeError("Could not load libtorchcodec. Likely causes:\n  1. FFmpeg is not properly installed")

    monkeypatch.setattr(decoders, "VideoDecoder", without_ffmpeg)
    with pytest.raises(UsageError, match="and the system's FFmpeg") as caught:
        TorchCodec().read(encoded["h264.mp4"], [0], (16, 16))
    assert not isinstance(caught.value, VideoError)


def test_a_missing_torchcodec_is_an_error_and_not_another_decoder(encoded, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)  # as if it were not installed
    with pytest.raises(UsageError, match=r"torchcodec cannot be loaded; install dsn-lightning\[torchcodec\]"):
        TorchCodec().read(encoded["h264.mp4"], [0], (16, 16))


def test_pyav_returns_the_same_frames_and_rotation(real_data):
    need_torchcodec()
    from torchcodec.decoders import VideoDecoder

    for name in ("nasa_13013_rotated.mp4", "video_90.mov", "test_non_zero_start.mp4", "bikes.mp4"):
        path = real_data / "assets" / name
        theirs = VideoDecoder(str(path), dimension_order="NHWC")
        some = [0, len(theirs) // 2, len(theirs) - 1]
        expected = theirs.get_frames_at(some).data.numpy()
        ours = PyAV().read(path, sorted(set(some)), expected.shape[1:3])
        assert np.abs(ours.astype(int) - expected[: len(ours)]).mean() < 1, name


def test_any_frames_are_those_of_the_whole(encoded, monkeypatch):
    need_torchcodec()
    for name in ("h264.mp4", "open_gop.mp4", "mpeg4.avi", "raw.h264"):
        assert_exact(TorchCodec(), encoded[name], everything(encoded[name]), monkeypatch)
