"""Small copies and flow files: each frame in its place, at its time, with its values; nothing half-written."""

import resource
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from conftest import write_video
from dsn_lightning.prepare.copies import copy_info, estimate, is_current, write_copy
from dsn_lightning.prepare.copy_kinds import FlowCopy, FrameCopy, SmallCopy
from dsn_lightning.prepare.partial_files import remove_partial_files, replacing
from dsn_lightning.video.motion_jpeg import MotionJpeg
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError, VideoInfo
from helpers.small_videos import moving

ODD_ONES = [
    "ntu_irregular_timestamps.avi",
    "video_90.mov",
    "test_non_zero_start.mp4",
    "h264_10bits.mp4",
    "bikes.mp4",
    "nasa_13013_rotated.mp4",
    "testsrc2_odd_height_and_width_vp9.mp4",
]


def stamps_and_keys(path: Path) -> tuple[list[float], list[bool]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
    start = frames[0].pts
    return [float((f.pts - start) * f.time_base) for f in frames], [bool(f.key_frame) for f in frames]


def test_small_copy_has_each_frame_at_its_time(tmp_path):
    original, copy = tmp_path / "a.mkv", tmp_path / "small" / "a.mp4"
    brightness = 10 + 8 * np.arange(30)
    write_video(original, np.broadcast_to(brightness[:, None, None, None], (30, 200, 200, 3)).astype(np.uint8))
    info = PyAV().probe(original)
    write_copy(original, copy, info, decoder=PyAV(), kind=SmallCopy(128, 8, 18))
    stamps, keys = stamps_and_keys(copy)
    assert np.allclose(stamps, np.arange(30) / 25)
    assert [i for i, key in enumerate(keys) if key] == [0, 8, 16, 24]
    frames = np.stack(list(PyAV().frames(copy)))
    assert frames.shape == (30, 128, 128, 3)
    assert np.abs(frames.mean((1, 2, 3)) - brightness).max() < 4  # neighbours are 8 apart
    with av.open(str(copy)) as container:
        assert not container.streams.audio
        assert container.streams.video[0].codec_context.has_b_frames == 0
        assert container.streams.video[0].format.name == "yuv420p"


def test_copy_info_is_what_decoding_would_find(tmp_path):
    original = tmp_path / "a.mkv"
    write_video(original, moving(21))
    info = PyAV().probe(original)
    write_copy(original, tmp_path / "a.mp4", info, decoder=PyAV(), kind=SmallCopy(32))
    write_copy(original, tmp_path / "f.mkv", info, decoder=PyAV(), kind=FlowCopy((32, 40)))
    write_copy(original, tmp_path / "j.mov", info, decoder=PyAV(), kind=FrameCopy((32, 41)))
    for copy in (tmp_path / "a.mp4", tmp_path / "f.mkv", tmp_path / "j.mov"):
        from_header, decoded = copy_info(copy, info), PyAV().probe(copy)
        for name in ("num_frames", "width", "height", "stamps", "time_base", "key_frames", "codec"):
            assert getattr(from_header, name) == getattr(decoded, name), name
    with pytest.raises(VideoError, match="before its original changed"):
        copy_info(tmp_path / "a.mp4", VideoInfo(22, 25.0, 64, 48))


@pytest.mark.parametrize("kind", [SmallCopy(), FrameCopy((128, 171), "short_side", 95)], ids=["small", "frames"])
@pytest.mark.parametrize("name", ODD_ONES)
def test_copies_of_real_files_keep_frames_times_and_shape(name, kind, real_data, tmp_path):
    original, target = real_data / "assets" / name, tmp_path / f"a{kind.suffix}"
    info = PyAV().probe(original)
    write_copy(original, target, info, decoder=PyAV(), kind=kind)
    copy = PyAV().probe(target)
    assert copy.num_frames == info.num_frames
    assert np.allclose(copy.times, info.times, rtol=0, atol=1e-9)
    assert (copy.height > copy.width) == (info.height > info.width)
    assert copy.width * info.height == pytest.approx(copy.height * info.width, rel=0.03)
    chosen = [0, info.num_frames // 2, info.num_frames - 1][: info.num_frames]
    ours = (MotionJpeg() if isinstance(kind, FrameCopy) else PyAV()).read(target, sorted(set(chosen)), (64, 64), copy)
    theirs = PyAV().read(original, sorted(set(chosen)), (64, 64), info)
    assert np.abs(ours.astype(float) - theirs).mean() < 6


def test_frames_without_time_stamps_are_evenly_spaced(tmp_path):
    original = tmp_path / "raw.h264"
    write_video(tmp_path / "a.mp4", moving(9))
    write_bare_stream(tmp_path / "a.mp4", original)
    info = PyAV().probe(original)
    write_copy(original, tmp_path / "c.mp4", info, decoder=PyAV(), kind=SmallCopy(32))
    stamps, _ = stamps_and_keys(tmp_path / "c.mp4")
    assert np.allclose(stamps, np.arange(9) / info.fps, atol=1e-4)


def write_bare_stream(source: Path, target: Path) -> None:
    """Write the bare stream, which has no time stamps."""
    with av.open(str(source)) as container, av.open(str(target), "w", format="h264") as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)


def test_flow_is_opencvs_to_the_bit(tmp_path):
    original, copy = tmp_path / "a.mkv", tmp_path / "a.flow.mkv"
    write_video(original, moving(7))
    info = PyAV().probe(original)
    write_copy(original, copy, info, decoder=PyAV(), kind=FlowCopy((40, 52), 20.0))
    grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in PyAV().frames(original, (40, 52))]
    expected = []
    for a, b in pairwise(grey):
        flow = cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0)
        expected.append(np.rint((np.clip(flow.astype(np.float64), -20, 20) + 20) / 40 * 255))
    found = np.stack(list(PyAV().frames(copy)))
    assert found.shape == (7, 40, 52, 3)
    assert np.array_equal(found[:-1, ..., :2], expected)
    assert np.array_equal(found[-1], found[-2])
    assert (found[..., 2] == 128).all()
    inner = found[:-1, 12:-12, 12:-12, :2] / 255 * 40 - 20
    assert np.median(inner, (0, 1, 2)) == pytest.approx([2 * 52 / 64, 40 / 48], abs=0.3)  # right and down
    stamps, keys = stamps_and_keys(copy)
    assert all(keys)
    assert np.allclose(stamps, np.arange(7) / 25)


def test_flow_file_keeps_every_value_of_every_channel(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (5, 33, 47, 3)).astype(np.uint8)

    class Noise(FlowCopy):
        def pictures(self, frames):
            return iter(pictures)

    write_video(tmp_path / "a.mp4", moving(5))
    info = PyAV().probe(tmp_path / "a.mp4")
    write_copy(tmp_path / "a.mp4", tmp_path / "f.mkv", info, decoder=PyAV(), kind=Noise((33, 47)))
    assert np.array_equal(np.stack(list(PyAV().frames(tmp_path / "f.mkv"))), pictures)
    part = PyAV().read(tmp_path / "f.mkv", [1, 3], (33, 47), copy_info(tmp_path / "f.mkv", info))
    assert np.array_equal(part, pictures[[1, 3]])


def test_same_video_gives_the_same_bytes(tmp_path):
    write_video(tmp_path / "a.mp4", moving(12))
    info = PyAV().probe(tmp_path / "a.mp4")
    for name in "xy":
        write_copy(tmp_path / "a.mp4", tmp_path / f"{name}.mp4", info, decoder=PyAV(), kind=SmallCopy(32))
        write_copy(tmp_path / "a.mp4", tmp_path / f"{name}.mkv", info, decoder=PyAV(), kind=FlowCopy((32, 40)))
    assert (tmp_path / "x.mp4").read_bytes() == (tmp_path / "y.mp4").read_bytes()
    assert (tmp_path / "x.mkv").read_bytes() == (tmp_path / "y.mkv").read_bytes()


def test_a_copy_is_current_for_its_settings_and_content_alone(tmp_path):
    write_video(tmp_path / "a.mp4", moving(5))
    write_video(tmp_path / "b.mp4", moving(5, seed=1))
    info, other = PyAV().probe(tmp_path / "a.mp4"), PyAV().probe(tmp_path / "b.mp4")
    copy = tmp_path / "c.mp4"
    write_copy(tmp_path / "a.mp4", copy, info, decoder=PyAV(), kind=SmallCopy(32))
    assert is_current(copy, info, SmallCopy(32))
    assert not is_current(copy, info, SmallCopy(34))
    assert not is_current(copy, other, SmallCopy(32))
    assert not is_current(tmp_path / "none.mp4", info, SmallCopy(32))
    copy.write_bytes(copy.read_bytes()[:-400])
    assert not is_current(copy, info, SmallCopy(32))


def test_a_copy_whose_label_is_not_utf8_is_made_anew(tmp_path):
    write_video(tmp_path / "a.mp4", moving(5))
    info, kind, copy = PyAV().probe(tmp_path / "a.mp4"), FrameCopy((32, 40)), tmp_path / "c.mov"
    write_copy(tmp_path / "a.mp4", copy, info, decoder=PyAV(), kind=kind)
    label = kind.label(info).encode()
    assert label in copy.read_bytes()
    copy.write_bytes(copy.read_bytes().replace(label, b"\x9b" + label[1:-1] + b"\x9b"))
    assert not is_current(copy, info, kind)
    with pytest.raises(VideoError, match="run dsn-prepare again"):
        copy_info(copy, info)


def test_a_video_that_changed_meanwhile_leaves_no_copy(tmp_path):
    write_video(tmp_path / "a.mp4", moving(5))
    info = PyAV().probe(tmp_path / "a.mp4")
    write_video(tmp_path / "a.mp4", moving(9))
    with pytest.raises(VideoError, match="expected 5 frames, got 9"):
        write_copy(tmp_path / "a.mp4", tmp_path / "c.mp4", info, decoder=PyAV(), kind=SmallCopy(32))
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_the_estimate_is_near_the_size_on_disk(tmp_path):
    videos = []
    for i in range(4):
        path = tmp_path / f"{i}.mkv"
        write_video(path, moving(40 + 20 * i, 96, 128, seed=i))
        videos.append((path, PyAV().probe(path)))
    for kind in (SmallCopy(64), FrameCopy((64, 86)), FlowCopy((64, 86))):
        needed = estimate(videos, decoder=PyAV(), kind=kind)
        assert needed is not None
        assert 0 < needed.seconds < 60
        for path, info in videos:
            write_copy(path, kind.target(tmp_path / "out", tmp_path, path), info, decoder=PyAV(), kind=kind)
        written = sum(p.stat().st_size for p in (tmp_path / "out" / kind.folder).iterdir())
        assert 0.8 < needed.bytes / written < 1.5


def test_the_estimate_leaves_out_unreadable_videos(tmp_path):
    info = VideoInfo(20, 25.0, 64, 48)
    assert estimate([(tmp_path / "gone.mp4", info)], decoder=PyAV(), kind=SmallCopy()) is None


def test_a_failed_write_leaves_no_file(tmp_path):
    """Also where no small disk can be mounted: the system's limit on the size of a file."""
    write_video(tmp_path / "a.mkv", np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3)).astype(np.uint8))
    info = PyAV().probe(tmp_path / "a.mkv")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_copy(tmp_path / "a.mkv", tmp_path / "f.mkv", info, decoder=PyAV(), kind=FlowCopy((64, 64)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]


def test_partial_files_are_removed(tmp_path):
    with pytest.raises(TypeError), replacing(tmp_path / "a.mp4") as file:
        file.write("half")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk" / ".b.mp4.partial").write_bytes(b"half")
    (tmp_path / "walk" / "c.mp4").write_bytes(b"whole")
    remove_partial_files(tmp_path)
    assert [p.name for p in (tmp_path / "walk").iterdir()] == ["c.mp4"]
