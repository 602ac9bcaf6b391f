"""PyAV: any frames are those of decoding everything in order; damaged files; deadlines; other processes."""

import multiprocessing
import os
import subprocess
import time
from pathlib import Path

import av
import numpy as np
import pytest

from conftest import grey_ramp, write_video
from dsn_lightning.video import pyav_decoder as decoding
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError, VideoInfo, pack, unpack
from helpers.encoded_videos import KINDS, assert_exact, encode, encode_each_format, everything


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return encode_each_format(tmp_path_factory.mktemp("encoded"))


@pytest.mark.parametrize("name", KINDS)
def test_any_frames_are_those_of_the_whole(name, encoded, monkeypatch):
    whole = everything(encoded[name])
    info = assert_exact(PyAV(), encoded[name], whole, monkeypatch)
    assert info.num_frames == 50
    assert info.fps == pytest.approx(25, rel=1e-3)
    assert info.damage == ()


def test_key_frames_are_sought_where_that_saves_decoding(encoded, monkeypatch):
    info = PyAV().probe(encoded["h264.mp4"])
    keys = unpack(info.key_frames).tolist()
    assert len(keys) >= 4
    jumped = []
    real = PyAV._frames_from

    def from_(self, path, opened, start, *others):
        jumped.append(start)
        return real(self, path, opened, start, *others)

    monkeypatch.setattr(PyAV, "_frames_from", from_)
    PyAV().read(encoded["h264.mp4"], [0, 1, 49], (34, 34), info)
    assert jumped == [0, keys[-1]]


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "open_gop.mp4", "front.mp4"])
def test_frames_that_nothing_refers_to_are_not_decoded(name, encoded, monkeypatch):
    path, decoded = encoded[name], []
    info, whole = PyAV().probe(path), everything(path)
    real = PyAV._packets

    def packets(*arguments):
        for packet, frames in real(*arguments):
            decoded.extend(frames)
            yield packet, frames

    monkeypatch.setattr(PyAV, "_packets", packets)
    wanted = [*range(0, 50, 9), 49]
    assert np.array_equal(PyAV().read(path, wanted, whole.shape[1:3], info), whole[wanted])
    assert len(decoded) < 40  # of 50; at least a third of them are B-frames without references


def test_a_frame_that_is_lost_by_skipping_is_read_without(encoded, monkeypatch):
    path = encoded["h264.mp4"]
    info, whole = PyAV().probe(path), everything(path)
    real = decoding._stamps_of_needed

    def with_a_wrong_stamp(*arguments):
        needed = real(*arguments)
        return needed and {stamp + (index == 20): index for stamp, index in needed.items()}

    monkeypatch.setattr(decoding, "_undivided", set())
    monkeypatch.setattr(decoding, "_stamps_of_needed", with_a_wrong_stamp)
    assert np.array_equal(PyAV().read(path, [3, 20, 31], whole.shape[1:3], info), whole[[3, 20, 31]])
    assert decoding._undivided == {(path, info.digest)}


def test_a_seek_that_contradicts_the_index_is_noticed(encoded):
    """A seek that does not lead to the frame in the index must not give wrong frames."""
    path = encoded["h264.mp4"]
    info = PyAV().probe(path)
    wrong = VideoInfo(**{**info.to_json(), "stamps": pack((unpack(info.stamps) + 100).tolist())})
    assert np.array_equal(PyAV().read(path, [48], (34, 34), wrong), PyAV().read(path, [48], (34, 34)))


@pytest.mark.parametrize(
    "stamps",
    [[3 * i for i in range(40)], [i * i for i in range(2, 42)], [i + 50 * (i > 20) for i in range(40)]],
    ids=["regular", "irregular", "gap"],
)
@pytest.mark.parametrize("name", ["h264.mkv", "h264.mp4"])
def test_time_stamps_are_kept(name, stamps, tmp_path, monkeypatch):
    encode(tmp_path / name, "libx264", {"bf": "2", "g": "10"}, {}, stamps=stamps)
    info = assert_exact(PyAV(), tmp_path / name, everything(tmp_path / name), monkeypatch, draws=3)
    assert info.times == pytest.approx((np.array(stamps) - stamps[0]) / 100, abs=1.1e-3)
    assert VideoInfo.from_json(info.to_json()) == info


def test_frames_are_counted_by_decoding_and_not_by_headers(real_data):
    for path in (real_data / "assets" / "hmdb51_original").iterdir():
        info = PyAV().probe(path)
        assert info.header_frames is not None
        assert 3 <= info.header_frames - info.num_frames <= 8
        assert (np.diff(info.times) > 1.5 / 30).any()  # gaps


def test_an_error_of_the_system_is_transient(tmp_path, monkeypatch):
    write_video(tmp_path / "v.mp4", grey_ramp(3))

    def refuse(*_, **__):
        raise av.error.PermissionError(13, "Permission denied", str(tmp_path / "v.mp4"))

    monkeypatch.setattr(decoding.av, "open", refuse)  # root may read anything
    with pytest.raises(VideoError, match=r"v\.mp4: .*Permission denied") as caught:
        PyAV().probe(tmp_path / "v.mp4")
    assert caught.value.transient


@pytest.mark.parametrize("name", ["v.avi", "v.mp4", "v.mkv"])
def test_tags_in_other_encodings_do_no_harm(name, tmp_path):
    with av.open(str(tmp_path / name), "w") as out:
        out.metadata["title"] = "Entree cafe"
        stream = out.add_stream("mpeg4", rate=25)
        stream.height = stream.width = 34
        for image in grey_ramp(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
    content = (tmp_path / name).read_bytes()
    assert b"Entree cafe" in content
    (tmp_path / name).write_bytes(content.replace(b"Entree cafe", b"Entr\xe9e caf\xe9"))
    assert PyAV().probe(tmp_path / name).num_frames == 5
    assert PyAV().read(tmp_path / name, [4], (34, 34)).shape == (1, 34, 34, 3)


def test_a_missing_frame_is_an_error(tmp_path):
    write_video(tmp_path / "v.mp4", grey_ramp(5))
    with pytest.raises(VideoError, match="ends before frame 9"):
        PyAV().read(tmp_path / "v.mp4", [1, 9], (34, 34))


def test_the_deadline_ends_a_long_file(encoded):
    with pytest.raises(VideoError, match="took longer than 0 s to") as caught:
        PyAV(0.0).read(encoded["h264.mp4"], [49], (34, 34))
    assert caught.value.transient


def test_the_deadline_covers_all_frames_of_a_call(encoded, monkeypatch):
    monkeypatch.setattr(decoding, "_SEEK_COST", 0)
    info = PyAV().probe(encoded["h264.mp4"])
    real = decoding.FrameConverter.__call__

    def slow(self, *arguments):
        time.sleep(0.2)
        return real(self, *arguments)

    monkeypatch.setattr(decoding.FrameConverter, "__call__", slow)
    with pytest.raises(VideoError, match="to decode"):
        PyAV(0.5).read(encoded["h264.mp4"], [0, 13, 26, 39, 49], (34, 34), info)


def outcome(path: Path, original: np.ndarray) -> str:
    """Decode a damaged file twice; return whether its frames are right, or it is flagged, refused or silently wrong."""
    decoder = PyAV(deadline=20)
    try:
        info = decoder.probe(path)
    except VideoError as error:
        return "refused" if str(path) in str(error) else "refused without its name"
    frames = np.stack(list(decoder.frames(path)))
    assert len(frames) == info.num_frames
    assert np.array_equal(frames, np.stack(list(decoder.frames(path))))  # it repeats, whatever it is
    some = np.arange(0, len(frames), 7)
    assert np.array_equal(decoder.read(path, some, frames.shape[1:3], info), frames[some])
    place = -1
    for frame in frames:  # each is one of the original's, in its order
        later = [i for i in range(place + 1, len(original)) if np.array_equal(original[i], frame)]
        if not later:
            return "flagged" if info.damage else "silent"
        place = later[0]
    return "right"


MUTATED = ["h264.mp4", "front.mp4", "h264.mkv", "mpeg4.avi", "vp9.webm", "h264.ts", "hevc.mp4", "mjpeg.avi"]


def damaged(content: bytes, rng: np.random.Generator) -> dict[str, bytes]:
    """28 truncated, 12 otherwise broken containers and 12 with flipped payload bits."""
    n = len(content)
    files = {f"cut at {f:.3f}": content[: int(n * f)] for f in np.linspace(0.01, 0.999, 28)}
    for at in (4, 32, 200, n // 20):
        files[f"no first {at}"] = content[at:]
        files[f"zeroed first {at}"] = bytes(at) + content[at:]
    for share in (0.3, 0.6, 0.9, 0.97):
        at = int(n * share)
        files[f"zeroed at {share}"] = content[:at] + bytes(n // 50) + content[at + n // 50 :]
    for draw in range(12):
        flipped = bytearray(content)
        for at in rng.integers(n // 10, n * 9 // 10, 4):
            flipped[at] ^= 1 << int(rng.integers(8))
        files[f"flipped {draw}"] = bytes(flipped)
    return files


@pytest.mark.parametrize("name", MUTATED)
def test_damaged_files_give_right_frames_an_error_or_a_flag(name, encoded, tmp_path):
    """8 formats x 52 = 416 files."""
    original = np.stack(list(PyAV().frames(encoded[name])))
    counts: dict[str, dict[str, int]] = {"container": {}, "payload": {}}
    for what, content in damaged(encoded[name].read_bytes(), np.random.default_rng(7)).items():
        path = tmp_path / f"damaged{encoded[name].suffix}"
        path.write_bytes(content)
        found = outcome(path, original)
        kind = "payload" if what.startswith(("flipped", "zeroed at")) else "container"
        counts[kind][found] = counts[kind].get(found, 0) + 1
        if kind == "container":
            assert found in ("right", "refused"), what
    assert counts["container"].get("refused", 0) >= 10, counts
    print(name, counts)


def read_in(path: Path, expected: np.ndarray) -> None:
    assert np.array_equal(PyAV().read(path, [0, 20, 49], expected.shape[1:3]), expected)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same(method, encoded):
    expected = everything(encoded["h264.mp4"])[[0, 20, 49]]
    PyAV().read(encoded["h264.mp4"], [49], (8, 8))  # the parent has used the decoder before
    process = multiprocessing.get_context(method).Process(target=read_in, args=(encoded["h264.mp4"], expected))
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_a_file_that_shrinks_or_vanishes_is_an_error(encoded, tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(encoded["front.mp4"].read_bytes())
    info = PyAV().probe(path)
    os.truncate(path, 3000)
    with pytest.raises(VideoError, match=r"v\.mp4"):
        PyAV().read(path, [49], (34, 34), info)
    path.unlink()
    with pytest.raises(VideoError, match="no such video file"):
        PyAV().read(path, [49], (34, 34), info)


@pytest.mark.slow
def test_memory_stays_flat_over_20000_clips(encoded):
    info = PyAV().probe(encoded["h264.mp4"])

    def memory() -> int:
        return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(os.getpid())]))

    rng = np.random.default_rng(0)
    began, after_2000 = time.monotonic(), 0
    for clip in range(20000):
        start = int(rng.integers(42))
        PyAV(60).read(encoded["h264.mp4"], range(start, start + 8), (34, 34), info)
        if clip == 2000:
            after_2000 = memory()
    print(f"{after_2000} kB after 2000 clips, {memory()} kB after 20000; {time.monotonic() - began:.0f} s")
    assert memory() < 1.05 * after_2000
