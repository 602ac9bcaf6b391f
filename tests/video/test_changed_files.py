"""A file that is exchanged while a run goes on is not read as the one that was indexed."""

import os
import shutil

import pytest

from conftest import grey_ramp, write_video
from dsn_lightning.prepare.video_index import index_videos
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.torchcodec_decoder import TorchCodec
from dsn_lightning.video.video_info import VideoError

CHANGED = "has changed since it was indexed"


@pytest.fixture
def indexed(tmp_path):
    """A file of 20 frames, what an index knows of it, and a longer one to put in its place."""
    file, longer = tmp_path / "videos" / "a.mp4", tmp_path / "longer.mp4"
    file.parent.mkdir()
    write_video(file, grey_ramp(20))
    write_video(longer, grey_ramp(40)[::-1])
    for _ in range(2):  # the second time out of the stored index
        found = index_videos([file], tmp_path / "index", root=file.parent, decoder=PyAV(), num_threads=1, show=False)
    return file, found[file], longer


@pytest.mark.parametrize("decoder", [PyAV(), TorchCodec()])
def test_a_longer_file_is_not_read(decoder, indexed):
    file, info, longer = indexed
    PyAV().read(file, [0, 19], (34, 34), info)
    os.replace(longer, file)
    with pytest.raises(VideoError, match=CHANGED):
        decoder.read(file, [0, 19], (34, 34), info)


def test_the_same_size_with_another_date_is_not_read(indexed):
    file, info, _ = indexed
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(VideoError, match=CHANGED):
        PyAV().read(file, [0], (34, 34), info)


def test_a_file_that_is_gone_is_named(indexed):
    file, info, _ = indexed
    shutil.move(file, file.with_suffix(".old"))
    with pytest.raises(VideoError, match="no such video file") as caught:
        PyAV().read(file, [0], (34, 34), info)
    assert caught.value.transient


def test_a_probed_file_is_not_compared(indexed):
    file, _, _ = indexed
    info = PyAV().probe(file)
    os.utime(file)
    assert PyAV().read(file, [3], (34, 34), info).shape == (1, 34, 34, 3)
