"""The embedded data set: the same bytes each time, written whole or not at all, and its spans and glimpses."""

import hashlib
import json
from pathlib import Path

import av
import pytest

from dsn_lightning.datasets.needle import Needle
from dsn_lightning.errors import UsageError
from dsn_lightning.video.pyav_decoder import PyAV


def digest(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def small_needle(root: Path) -> Needle:
    return Needle(str(root), num_train=12, num_val=6, num_test=6)


def test_the_videos_repeat_byte_for_byte(needle_root, tmp_path):
    again = small_needle(tmp_path)
    again.prepare()
    assert digest(again.root) == digest(small_needle(needle_root).root)


def test_the_folder_has_the_permissions_of_its_parent(tmp_path):
    tmp_path.chmod(0o755)
    source = Needle(str(tmp_path), num_train=1, num_val=1, num_test=1)
    source.prepare()
    assert source.root.stat().st_mode & 0o777 == 0o755


def test_the_shortest_video_is_at_most_as_long_as_the_longest(tmp_path):
    with pytest.raises(UsageError, match=r"dataset\.min_frames=200, dataset\.max_frames=176"):
        Needle(str(tmp_path), min_frames=200)


def test_an_existing_set_is_reused(needle_root):
    source = small_needle(needle_root)
    before = source.root.stat().st_mtime_ns
    source.prepare()
    assert source.root.stat().st_mtime_ns == before


def test_videos_are_h264_and_contain_their_spans(needle_root):
    source = small_needle(needle_root)
    for entry in source.records("test"):
        with av.open(str(entry.path)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
        info = PyAV().probe(entry.path)
        assert 144 <= info.num_frames <= 176
        assert entry.spans
        assert all(0 <= start < end <= info.duration + 1e-6 for start, end in entry.spans)


def test_glimpses_mislead_in_half_of_the_videos(needle_root):
    rows = json.loads((small_needle(needle_root).root / "videos.json").read_text())
    right = [row["glimpsed"] == row["label"] for row in rows]
    assert 4 <= sum(right) <= 20  # of 24: binomial with p = 0.5
    for row in rows:
        (_, end), (start, _) = row["spans"]
        assert start - end >= 20


def test_everywhere_shows_the_action_all_the_time(tmp_path):
    source = Needle(str(tmp_path), name="e", everywhere=True, num_train=6, num_val=0, num_test=2)
    source.prepare()
    for entry in source.records("test"):
        assert entry.spans == ((0.0, pytest.approx(PyAV().probe(entry.path).duration)),)
    assert source.records("val") == []


def test_a_failed_writing_leaves_nothing_behind(tmp_path, monkeypatch):
    source = small_needle(tmp_path)
    monkeypatch.setattr("dsn_lightning.datasets.needle._encode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        source.prepare()
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []
    monkeypatch.undo()
    source.prepare()
    assert len(source.records("train")) == 12
