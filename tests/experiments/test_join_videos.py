"""The videos that experiments/join_videos.py joins from HMDB51's clips."""

import json
from pathlib import Path

import numpy as np
import pytest

import join_videos
from dsn_lightning.datasets.activitynet import ActivityNet
from dsn_lightning.video.pyav_decoder import PyAV


@pytest.fixture
def join(monkeypatch):
    monkeypatch.setattr(join_videos, "CLASSES", ("golf", "pour"))
    monkeypatch.setattr(join_videos, "NUM_VIDEOS", {"training": 1, "validation": 1})
    return join_videos


def test_no_film_of_a_class_is_in_both_subsets(join, real_data):
    for source_of_clips in ("official", "training"):
        found = join.clips_by_subset(real_data / "hmdb51", source_of_clips, 0)
        for name in found["training"]:
            films = [{record.group for record in found[side][name]} for side in ("training", "validation")]
            assert not films[0] & films[1]
            assert films[0]
            assert films[1]
    clips = {record.video_id for classes in found.values() for records in classes.values() for record in records}
    official = join.clips_by_subset(real_data / "hmdb51", "official", 0)
    tested = {record.video_id for records in official["validation"].values() for record in records}
    assert len(clips) == 665
    assert not clips & tested


def test_a_video_shows_its_action_where_its_annotation_says(join, real_data, tmp_path):
    """The clips of a video are decoded again and found in it; those of its class are in the segments and no others."""
    found = join.clips_by_subset(real_data / "hmdb51", "training", 0)
    rng = np.random.default_rng(0)
    parts = join.draw_clips("golf", found["training"], rng)
    assert len({record.video_id for _, record in parts}) == len(parts)
    assert sum(name == "golf" for name, _ in parts) >= join.NUM_ACTIONS[0]
    duration, segments = join.write_video(tmp_path / "v.mp4", "golf", parts)
    written = list(PyAV().frames(tmp_path / "v.mp4"))
    assert len(written) == round(duration * join.FPS)
    place = 0
    for name, record in parts:
        frames = list(PyAV().frames(record.path, join.SIZE))
        first = max(0, len(frames) - join.MAX_FRAMES) // 2
        taken = frames[first : first + join.MAX_FRAMES]
        seconds = (place + 0.5) / join.FPS
        assert any(start <= seconds < end for start, end in segments) == (name == "golf")
        assert np.abs(written[place].astype(int) - taken[0]).mean() < 8  # the rest is the encoding
        place += len(taken)
    assert place == len(written)


def test_the_same_seed_gives_the_same_data_set(join, real_data, tmp_path):
    for name in ("a", "b"):
        assert join.main([str(real_data / "hmdb51"), str(tmp_path / name), "--from", "training"]) == 0
    trees = [{f.name: f.read_bytes() for f in Path(tmp_path / name).rglob("*.*")} for name in ("a", "b")]
    assert trees[0] == trees[1]
    source = ActivityNet(str(tmp_path / "a"))
    assert [*source.classes] == ["golf", "pour"]
    assert [len(source.records(subset)) for subset in ("train", "test")] == [2, 2]
    assert all(record.path.is_file() and record.spans for record in source.records("test"))
    content = json.loads((tmp_path / "a" / "activity_net.v1-3.min.json").read_text())
    assert {video["subset"] for video in content["database"].values()} == {"training", "validation"}
