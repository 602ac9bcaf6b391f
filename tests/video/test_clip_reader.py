"""Clip readers: each frame is decoded once."""

from pathlib import Path

import numpy as np

from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.video.clip_reader import ClipReader
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.time_line import place_on_time_line
from dsn_lightning.video.video_info import VideoInfo


def record(path: str = "v.mp4") -> VideoRecord:
    return VideoRecord("v", Path(path), (0,))


def test_each_frame_is_decoded_once_for_all_clips():
    asked = []

    def read(video, indices, size):
        asked.append(list(indices))
        return np.zeros((len(indices), *size, 3), np.uint8)

    reader = ClipReader(read, Crop((8, 8), 8), frames_per_clip=4, frame_stride=1)
    clips = reader(place_on_time_line(record(), VideoInfo(10, 25.0, 8, 8), None), np.array([[0, 2], [3, 6]]))
    assert clips.shape == (2, 2, 3, 4, 8, 8)
    assert asked == [list(range(10))]
