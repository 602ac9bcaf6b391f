"""What `make bench` times: the readers read the same frames, and the rows count what they say."""

import queue
from pathlib import Path

import numpy as np
import pytest

from dsn_lightning.video.pyav_decoder import PyAV

SPEED = Path(__file__).parents[2] / "experiments" / "speed"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SPEED))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_a_repeated_video_has_its_frames_again(tmp_path):
    from videos import make, repeat

    make(tmp_path / "a.mp4", 2, height=64, width=96, keyint=12)
    repeat(tmp_path / "a.mp4", tmp_path / "b.mp4", 3)
    once, thrice = (list(PyAV().frames(tmp_path / name)) for name in ("a.mp4", "b.mp4"))
    assert len(once) == 50
    assert np.array_equal(np.stack(thrice), np.stack(once * 3))
    info = PyAV().probe(tmp_path / "b.mp4")
    assert np.array_equal(PyAV().read(tmp_path / "b.mp4", [60, 149], (64, 96), info), np.stack(thrice)[[60, 149]])


def test_all_readers_of_the_bench_read_the_same_frames(tmp_path):
    import loading
    from videos import make

    make(tmp_path / "a.mp4", 8, height=120, width=160, keyint=12)
    rows = {row["reader"]: row for row in loading.rows_of("a", tmp_path / "a.mp4", tmp_path, 1)}
    assert {"the file", "the small copy", "stored frames", "plain PyAV loop"} <= set(rows)
    assert {"clips from stored frames", "uncut clips from stored frames"} <= set(rows)
    for name, row in rows.items():
        assert row["frames"] == 144
        assert row["cpu_ms"] > 0
        if "clips" not in name:
            assert row["away"] < 10, name  # the next frame is 16 away
    assert rows["stored frames in a shard"]["away"] == rows["stored frames"]["away"]


def test_growth_reads_an_epoch(tmp_path):
    import growth
    from videos import make

    make(tmp_path / "a.mp4", 2, height=64, width=96)
    found = queue.SimpleQueue()
    growth.measure(growth.Load(2, 1, 2, 4, 2, 0), tmp_path / "a.mp4", PyAV().probe(tmp_path / "a.mp4"), 3, found)
    row = found.get()
    assert row["ms_a_video"] > 0
    assert row["mb"] > 100
    assert {load.seconds for load in growth.loads()} == {10, 17, 60, 600, 7200}
