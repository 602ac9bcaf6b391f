"""Frames as JPEG images: any of them are those of another decoder, by their bytes alone; damage is named."""

import io
import os
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from conftest import write_video
from dsn_lightning.prepare.copies import copy_info, write_copy
from dsn_lightning.prepare.copy_kinds import FrameCopy
from dsn_lightning.video.motion_jpeg import MotionJpeg
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError, VideoInfo
from helpers.small_videos import moving


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, VideoInfo]:
    original, copy = tmp_path / "a.mkv", tmp_path / "a.mov"
    write_video(original, moving(30, 96, 128))
    info = PyAV().probe(original)
    write_copy(original, copy, info, decoder=PyAV(), kind=FrameCopy((48, 63)))
    return copy, copy_info(copy, info)


def images(path: Path) -> list[bytes]:
    """Return the images of a file, demuxed by FFmpeg."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_any_frames_are_pillows(stored):
    path, info = stored
    whole = np.stack([np.asarray(Image.open(io.BytesIO(image))) for image in images(path)])
    assert whole.shape == (30, 48, 63, 3)
    for wanted in ([0], [29], [3, 4, 5, 21], list(range(30)), []):
        frames = MotionJpeg().read(path, wanted, (48, 63), info)
        assert frames.dtype == np.uint8
        assert np.array_equal(frames, whole[wanted])
    original = PyAV().read(path.with_suffix(".mkv"), range(30), (48, 63))
    distances = np.abs(whole[:, None].astype(int) - original).mean((2, 3, 4))  # (30, 30); the picture moves
    assert np.array_equal(distances.argmin(1), np.arange(30))


def test_other_sizes_are_scaled(stored):
    path, info = stored
    (frame,) = MotionJpeg().read(path, [7], (24, 31), info)
    (whole,) = MotionJpeg().read(path, [7], (48, 63), info)
    pillow = np.asarray(Image.fromarray(whole).resize((31, 24), Image.Resampling.BILINEAR))
    assert np.abs(frame.astype(int) - pillow).max() <= 1


def test_only_the_bytes_of_the_wanted_frames_are_read(stored, monkeypatch):
    path, info = stored
    read = []
    real = os.pread

    def pread(file, length, start):
        read.append((start, length))
        return real(file, length, start)

    monkeypatch.setattr("os.pread", pread)
    MotionJpeg().read(path, [2, 17], (48, 63), info)
    content = path.read_bytes()
    assert [content[start : start + length] for start, length in read] == [images(path)[2], images(path)[17]]


def test_a_damaged_image_is_named(stored):
    path, _ = stored
    content, image = path.read_bytes(), images(path)[5]
    path.write_bytes(content.replace(image, bytes(len(image))))
    assert len(MotionJpeg().read(path, [4, 6], (48, 63))) == 2
    with pytest.raises(VideoError, match=r"a\.mov: frame 5 is damaged"):
        MotionJpeg().read(path, [4, 5], (48, 63))


def test_an_image_of_another_size_is_named(stored):
    path, _ = stored
    image = images(path)[5]
    small = io.BytesIO()
    Image.new("RGB", (16, 16)).save(small, "JPEG")
    assert len(small.getvalue()) <= len(image)
    path.write_bytes(path.read_bytes().replace(image, small.getvalue() + bytes(len(image) - len(small.getvalue()))))
    with pytest.raises(VideoError, match="frame 5: expected 63x48 pixels, got 16x16"):
        MotionJpeg().read(path, [5], (48, 63))


def test_a_file_that_ends_early_is_named(stored):
    path, info = stored
    with pytest.raises(VideoError, match="ends before frame 30"):
        MotionJpeg().read(path, [2, 30], (48, 63), info)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(VideoError, match=r"a\.mov: "):
        MotionJpeg().read(path, [2], (48, 63))


def test_a_copy_in_an_unknown_codec_is_named(stored):
    path, _ = stored
    path.write_bytes(path.read_bytes().replace(b"jpeg\0", b"xxxx\0"))
    with pytest.raises(VideoError, match=r"a\.mov: is not a readable copy; run dsn-prepare again"):
        copy_info(path, PyAV().probe(path.with_suffix(".mkv")))
