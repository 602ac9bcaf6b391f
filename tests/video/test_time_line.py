"""Time lines: native frame rates and resampling by time stamp."""

from pathlib import Path

from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.video.time_line import place_on_time_line
from dsn_lightning.video.video_info import VideoInfo, pack


def record(path: str = "v.mp4") -> VideoRecord:
    return VideoRecord("v", Path(path), (0,))


def test_resampling_shows_the_frame_displayed_at_that_time():
    video = place_on_time_line(record(), VideoInfo(50, 25.0, 8, 8), 10.0)
    assert video.num_frames == 20
    assert video.source[:5].tolist() == [0, 2, 5, 7, 10]  # at 0, 0.1, 0.2, ... s
    irregular = VideoInfo(3, 3 / 2.0, 8, 8, stamps=pack([0, 9, 10]), time_base=(1, 10))
    assert place_on_time_line(record(), irregular, 2.0).source.tolist() == [0, 0, 2, 2]
