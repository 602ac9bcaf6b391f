"""What counts as a loss of frames, and what is only remarked."""

from pathlib import Path

import numpy as np
import pytest

from dsn_lightning.video import probing
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError
from helpers.encoded_videos import encode, encode_each_format, everything

STREAMED = ["h264.mp4", "front.mp4", "h264.mkv", "mpeg4.avi", "vp9.webm", "h264.ts"]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return encode_each_format(tmp_path_factory.mktemp("encoded"))


@pytest.mark.parametrize("name", STREAMED)
def test_trailing_zeros_lose_nothing(name, encoded, tmp_path):
    path = tmp_path / name
    path.write_bytes(encoded[name].read_bytes() + bytes(5000))
    assert PyAV().probe(path).num_frames == 50


@pytest.mark.parametrize("name", ["h264.ts"])
def test_joined_streams_are_read_whole(name, encoded, tmp_path):
    path = tmp_path / name
    path.write_bytes(encoded[name].read_bytes() * 2)
    info = PyAV().probe(path)
    assert info.num_frames == 100
    assert info.fps == pytest.approx(25)
    assert info.remarks == ("mpegts: 1 packets marked as incomplete",)
    whole = everything(path)
    assert np.array_equal(PyAV().read(path, [3, 60, 99], whole.shape[1:3], info), whole[[3, 60, 99]])


@pytest.mark.parametrize("name", ["front.mp4", "h264.mkv", "mpeg4.avi", "vp9.webm"])
@pytest.mark.parametrize("share", [0.7, 0.9])
def test_a_truncated_file_is_refused(name, share, encoded, tmp_path):
    content = encoded[name].read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(VideoError, match=r"truncated|damaged|cannot be decoded"):
        PyAV().probe(path)


@pytest.mark.parametrize("name", ["vp9.webm", "h264.ts"])
def test_a_hole_in_the_middle_is_refused(name, encoded, tmp_path):
    content = encoded[name].read_bytes()
    half, gap = len(content) // 2, len(content) // 5
    path = tmp_path / name
    path.write_bytes(content[:half] + bytes(gap) + content[half + gap :])
    with pytest.raises(VideoError, match="frames are missing"):
        PyAV().probe(path)


def test_a_hole_between_irregular_time_stamps_is_refused(tmp_path):
    """The time stamps do not show whether frames are missing, so the message decides."""
    path = tmp_path / "v.mkv"
    encode(path, "mpeg4", {"g": "10"}, {}, stamps=np.cumsum(np.arange(60) % 7 + 1).tolist())
    assert PyAV().probe(path).num_frames == 60
    content = path.read_bytes()
    half, gap = len(content) // 2, len(content) // 5
    path.write_bytes(content[:half] + bytes(gap) + content[half + gap :])
    with pytest.raises(VideoError, match="do not show whether frames are missing"):
        PyAV().probe(path)


def test_a_still_picture_is_remarked(tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 48), "red").save(tmp_path / "v.png")
    (tmp_path / "v.png").rename(tmp_path / "v.mp4")
    info = PyAV().probe(tmp_path / "v.mp4")
    assert info.num_frames == 1
    assert info.remarks == ("png_pipe: a still picture",)


def test_indexing_time_grows_with_the_file_and_names_the_key(encoded, monkeypatch):
    path = encoded["h264.mp4"]
    monkeypatch.setattr("dsn_lightning.video.pyav_decoder._INDEXING_DEADLINES", 1e-9)
    with pytest.raises(VideoError, match=r"to index: 1e-09 times dataset.reading.decoder.deadline; raise it"):
        PyAV(60).probe(path)
    monkeypatch.setattr("dsn_lightning.video.pyav_decoder._INDEXING_BYTES", path.stat().st_size / 4)
    with pytest.raises(VideoError, match=r"2.4e-07 s to index: 4e-09 times dataset.reading.decoder.deadline"):
        PyAV(60).probe(path)


@pytest.mark.parametrize(("name", "cut"), [("front.mp4", True), ("mpeg4.avi", True), ("front.mp4", False)])
def test_shorter_files_than_their_boxes_are_known(name, cut, encoded, tmp_path):
    path = tmp_path / name
    content = encoded[name].read_bytes()
    path.write_bytes(content[:-100] if cut else content)
    demuxer = "avi" if name.endswith("avi") else probing._MOV
    assert probing._is_cut(path, demuxer) == cut
