"""Kinds of files that are easily read wrong: each decoder returns the frames of FFmpeg's sequential decode."""

from pathlib import Path

import av
import numpy as np
import pytest

from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.torchcodec_decoder import TorchCodec
from dsn_lightning.video.video_info import VideoInfo
from helpers.encoded_videos import assert_exact, everything, need_torchcodec

FILES = {  # file -> frames, frames per second, index of the stream, what is reported
    "ts_named.mp4": (120, 25, 0, ""),
    "ps1_closed.mpg": (120, 25, 0, ""),
    "imagej8.avi": (40, 25, 0, ""),
    "two_small_first.mp4": (120, 25, 1, ""),
    "covr_before_trak.mp4": (120, 25, 1, ""),
    "chapters_lost.mp4": (120, 25, 0, "Referenced QT chapter track not found"),
    "fiel_unknown.mov": (20, 25, 0, "Unknown MOV field order"),
    "audio_tail_cut.mp4": (50, 25, 0, "stream 1, offset 0x1c24b: partial file"),
    "h264_b.avi": (120, 25, 0, ""),
}


@pytest.fixture(params=[PyAV(), TorchCodec()], ids=["pyav", "torchcodec"])
def decoder(request: pytest.FixtureRequest) -> PyAV:
    if isinstance(request.param, TorchCodec):
        need_torchcodec()
    return request.param


def assert_single_frames(decoder: PyAV, path: Path, whole: np.ndarray, info: VideoInfo) -> None:
    """Each frame, read alone, is more like the one of the whole than like any other."""
    for index in {0, 1, *range(0, len(whole), 9), len(whole) - 2, len(whole) - 1}:
        found = decoder.read(path, [index], whole.shape[1:3], info)[0].astype(int)
        assert np.abs(found - whole[index]).mean() == min(np.abs(found - other).mean() for other in whole), index


@pytest.mark.parametrize("name", FILES)
def test_frames_after_any_jump_are_those_of_the_whole(name, decoder, real_data, monkeypatch):
    num_frames, fps, stream, remark = FILES[name]
    path = real_data / "reading_faults" / name
    whole = everything(path)
    info = assert_exact(decoder, path, whole, monkeypatch)
    assert_single_frames(decoder, path, whole, info)
    assert (info.num_frames, info.stream, info.damage) == (num_frames, stream, ())
    assert info.fps == pytest.approx(fps, rel=1e-3)
    assert info.duration == pytest.approx(num_frames / fps, rel=1e-3)
    assert remark in " ".join(info.remarks)
    assert bool(info.remarks) == bool(remark)


@pytest.mark.parametrize(("name", "shown"), [("o_hflip.mp4", np.s_[:, :, ::-1]), ("o_zero.mp4", np.s_[:])])
def test_mirrored_and_empty_matrices_are_shown_as_players_do(name, shown, decoder, real_data, monkeypatch):
    path = real_data / "reading_faults" / name
    with av.open(path) as container:
        stored = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert_exact(decoder, path, stored[shown], monkeypatch)
