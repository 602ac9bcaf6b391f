"""Time lines: native frame rates and resampling by time stamp."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from conftest import grey_ramp
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.time_line import place_on_time_line
from dsn_lightning.video.video_info import VideoError, VideoInfo, pack


def record(path: str = "v.mp4") -> VideoRecord:
    return VideoRecord("v", Path(path), (0,))


def test_resampling_shows_the_frame_displayed_at_that_time():
    video = place_on_time_line(record(), VideoInfo(50, 25.0, 8, 8), 10.0)
    assert video.num_frames == 20
    assert video.source[:5].tolist() == [0, 2, 5, 7, 10]  # at 0, 0.1, 0.2, ... s
    irregular = VideoInfo(3, 3 / 2.0, 8, 8, stamps=pack([0, 9, 10]), time_base=(1, 10))
    assert place_on_time_line(record(), irregular, 2.0).source.tolist() == [0, 0, 2, 2]


def test_a_jump_of_time_stamps_is_named_instead_of_filled():
    stamps = [*range(20), *range(10**9, 10**9 + 20)]  # in seconds
    info = VideoInfo(40, 39 / stamps[-1], 8, 8, stamps=pack(stamps), time_base=(1, 1))
    assert place_on_time_line(record(), info, None).num_frames == 40
    message = r"v.mp4: its 40 frames span 1e\+09 s, too long for dataset.fps=25; .* step .* is 1e\+09 s, after frame 19"
    with pytest.raises(VideoError, match=message):
        place_on_time_line(record(), info, 25.0)


def test_a_file_whose_time_stamps_jump_is_indexed_and_named(tmp_path):
    path, seconds = tmp_path / "v.mkv", [*range(10), *range(10**9, 10**9 + 10)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=32, height=32, pix_fmt="yuv420p")
        stream.codec_context.time_base = Fraction(1, 25)
        for image, second in zip(grey_ramp(20, 32), seconds, strict=True):
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                packet.time_base, packet.pts, packet.dts = Fraction(1), second, second
                container.mux(packet)
    info = PyAV().probe(path)
    assert (info.num_frames, info.times[-1]) == (20, 10**9 + 9)
    with pytest.raises(VideoError, match=r"largest step between time stamps is 1e\+09 s, after frame 9"):
        place_on_time_line(VideoRecord("v", path, (0,)), info, 25.0)
