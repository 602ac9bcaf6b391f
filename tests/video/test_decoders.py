"""Decoders against decoding everything in order, and against other people's; files that are damaged."""

import multiprocessing
import os
import subprocess
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from conftest import grey_ramp, write_video
from dsn_lightning.errors import UsageError
from dsn_lightning.video import pyav_decoder as decoding
from dsn_lightning.video.decoder import Decoder
from dsn_lightning.video.image_folder import ImageFolder
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.torchcodec_decoder import TorchCodec
from dsn_lightning.video.video_info import VideoError, VideoInfo, pack, unpack

os.environ["SVT_LOG"] = "0"  # the AV1 encoder talks much

KINDS = {
    "h264.mp4": ("libx264", {"bf": "3", "g": "12"}, {}),
    "open_gop.mp4": ("libx264", {"bf": "3", "g": "12", "x264-params": "open-gop=1:scenecut=0:keyint=12"}, {}),
    "refresh.mp4": ("libx264", {"g": "12", "x264-params": "intra-refresh=1"}, {}),
    "front.mp4": ("libx264", {"bf": "2"}, {"movflags": "faststart"}),
    "h264.mkv": ("libx264", {"bf": "2"}, {}),
    "h264.ts": ("libx264", {"bf": "2", "g": "12"}, {}),
    "raw.h264": ("libx264", {"bf": "2", "g": "12"}, {}),
    "hevc.mp4": ("libx265", {"x265-params": "log-level=none:keyint=12"}, {}),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "g": "12"}, {}),
    "vp9.webm": ("libvpx-vp9", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "12"}, {}),
    "av1.mkv": ("libsvtav1", {"preset": "12", "g": "12"}, {}),
    "mjpeg.avi": ("mjpeg", {}, {}),
}


def moving_picture(num_frames: int = 50) -> np.ndarray:
    """A texture that moves, with the frame's number in its brightness."""
    rng = np.random.default_rng(0)
    base = rng.integers(20, 220, (12, 16, 3)).repeat(8, 0).repeat(8, 1)
    return np.stack([np.roll(base, 3 * i, 1) + i % 30 for i in range(num_frames)]).astype(np.uint8)


def encode(path: Path, codec: str, options: dict[str, str], container: dict[str, str], *, stamps: Sequence[int] = ()):
    """Write `moving_picture`, with regular time stamps or the given ones in 1/100 s."""
    frames = moving_picture(len(stamps) or 50)
    with av.open(str(path), "w", options=container) as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        if stamps:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
        for i, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if stamps:
                frame.pts, frame.time_base = stamps[i], Fraction(1, 100)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The moving picture in each format."""
    folder = tmp_path_factory.mktemp("encoded")
    for name, (codec, options, container) in KINDS.items():
        encode(folder / name, codec, options, container)
    return {name: folder / name for name in KINDS}


def everything(path: Path) -> np.ndarray:
    """All frames as PyAV itself converts them, upright."""
    with av.open(str(path)) as container:
        frames = [np.rot90(f.to_ndarray(format="rgb24"), round(f.rotation / 90)) for f in container.decode(video=0)]
    return np.stack(frames)


def assert_exact(decoder: Decoder, path: Path, whole: np.ndarray, monkeypatch, *, draws: int = 6) -> VideoInfo:
    """Any set of frames, with and without the index, from the start or by jumps, is that of the whole in order."""
    info = decoder.probe(path)
    assert (info.num_frames, info.height, info.width) == whole.shape[:3]
    size = (34, 46)
    small = np.stack(list(decoder.frames(path, size)))
    rng = np.random.default_rng(len(whole))
    for cost in (0, decoding._SEEK_COST):
        monkeypatch.setattr(decoding, "_SEEK_COST", cost)
        for draw in range(draws):
            some = np.sort(rng.choice(len(whole), rng.integers(1, min(8, len(whole)) + 1), replace=False))
            told = info if draw % 3 else None
            assert np.array_equal(decoder.read(path, some, whole.shape[1:3], told), whole[some]), (some, told)
            assert np.array_equal(decoder.read(path, some, size, told), small[some]), (some, told)
    return info


@pytest.mark.parametrize("name", KINDS)
def test_any_frames_are_those_of_the_whole(name, encoded, monkeypatch):
    whole = everything(encoded[name])
    info = assert_exact(PyAV(), encoded[name], whole, monkeypatch)
    assert info.num_frames == 50
    assert info.fps == pytest.approx(25, rel=1e-3)
    assert info.damage == ()


def test_key_frames_are_jumped_to_where_that_saves_decoding(encoded, monkeypatch):
    info = PyAV().probe(encoded["h264.mp4"])
    keys = unpack(info.key_frames).tolist()
    assert len(keys) >= 4
    jumped = []
    real = PyAV._from

    def from_(self, path, container, stream, start, info, until):
        jumped.append(start)
        return real(self, path, container, stream, start, info, until)

    monkeypatch.setattr(PyAV, "_from", from_)
    PyAV().read(encoded["h264.mp4"], [0, 1, 49], (34, 34), info)
    assert jumped == [0, keys[-1]]


def test_an_index_that_does_not_fit_is_noticed(encoded):
    """A seek that leads elsewhere than the index says must not give other frames."""
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


ASSETS = [
    "av1_video.mkv", "bikes.mp4", "h264_10bits.mp4", "h265_video.mp4", "mmaction2_demo.mp4", "nasa_13013.mp4",
    "nasa_13013_rotated.mp4", "ntu_irregular_timestamps.avi", "test_non_zero_start.mp4", "testsrc2_mpeg4.mp4",
    "testsrc2_odd_height_and_width_vp9.mp4", "video_90.mov", "hmdb51_original/*",
]  # fmt: skip


@pytest.mark.parametrize("name", ASSETS)
@pytest.mark.parametrize("decoder", [PyAV(), TorchCodec()], ids=["pyav", "torchcodec"])
def test_awkward_real_files_are_exact(decoder, name, real_data, monkeypatch):
    if isinstance(decoder, TorchCodec):
        need_torchcodec()
    found = sorted((real_data / "assets").glob(name))
    assert found
    for path in found[:: max(1, len(found) // 4)]:
        whole = everything(path) if isinstance(decoder, PyAV) else np.stack(list(decoder.frames(path)))
        assert_exact(decoder, path, whole, monkeypatch, draws=1 if whole[0].size > 10**6 else 2)


def need_torchcodec() -> None:
    try:
        from torchcodec.decoders import VideoDecoder

        VideoDecoder("no such file")  # loads FFmpeg
    except (ImportError, OSError) as error:
        pytest.skip(f"torchcodec is not installed: {str(error).splitlines()[0]}")
    except (RuntimeError, ValueError) as error:
        if "libtorchcodec" in str(error):
            pytest.skip(f"the FFmpeg that torchcodec needs is not installed: {str(error).splitlines()[0]}")


def test_torchcodec_without_ffmpeg_is_no_bad_video(encoded, monkeypatch):
    """torchcodec 0.17 looks for FFmpeg when the first video is opened; what it says then, word for word."""
    decoders = pytest.importorskip("torchcodec.decoders")

    def without_ffmpeg(*_: object, **__: object) -> None:
        raise RuntimeError("Could not load libtorchcodec. Likely causes:\n  1. FFmpeg is not properly installed")

    monkeypatch.setattr(decoders, "VideoDecoder", without_ffmpeg)
    with pytest.raises(UsageError, match="and the system's FFmpeg") as caught:
        TorchCodec().read(encoded["h264.mp4"], [0], (16, 16))
    assert not isinstance(caught.value, VideoError)


def test_frames_and_rotation_are_torchcodecs(real_data):
    need_torchcodec()
    from torchcodec.decoders import VideoDecoder

    for name in ("nasa_13013_rotated.mp4", "video_90.mov", "test_non_zero_start.mp4", "bikes.mp4"):
        path = real_data / "assets" / name
        theirs = VideoDecoder(str(path), dimension_order="NHWC")
        some = [0, len(theirs) // 2, len(theirs) - 1]
        expected = theirs.get_frames_at(some).data.numpy()
        ours = PyAV().read(path, sorted(set(some)), expected.shape[1:3])
        assert np.abs(ours.astype(int) - expected[: len(ours)]).mean() < 1, name


def test_headers_that_lie_are_told_apart(real_data):
    for path in (real_data / "assets" / "hmdb51_original").iterdir():
        info = PyAV().probe(path)
        assert info.header_frames is not None
        assert 3 <= info.header_frames - info.num_frames <= 8
        assert (np.diff(info.times) > 1.5 / 30).any()  # gaps


def test_torchcodec_holds_the_same(encoded, monkeypatch):
    need_torchcodec()
    for name in ("h264.mp4", "open_gop.mp4", "mpeg4.avi", "raw.h264"):
        whole = np.stack(list(TorchCodec().frames(encoded[name])))
        assert_exact(TorchCodec(), encoded[name], whole, monkeypatch)


def as_images(folder: Path, frames: np.ndarray, *, first: int = 1) -> Path:
    folder.mkdir()
    for number, image in enumerate(frames, first):
        Image.fromarray(image).save(folder / f"img_{number:05d}.jpg", quality=95)
    return folder


@pytest.mark.parametrize("first", [0, 1])
def test_frame_folders_hold_the_same(first, tmp_path, monkeypatch):
    as_images(tmp_path / "v", moving_picture(20), first=first)
    path = tmp_path / "v.avi"  # the name that the data set lists
    whole = np.stack([np.asarray(Image.open(f)) for f in sorted((tmp_path / "v").iterdir())])
    info = assert_exact(ImageFolder(fps=10), path, whole, monkeypatch)
    assert (info.fps, info.duration) == (10, 2)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda d: (d / "img_00007.jpg").unlink(), "image number 7 of"),
        (lambda d: (d / "img_00003.jpg").write_bytes(b"no image"), "img_00003.jpg cannot be read"),
        (lambda d: Image.new("RGB", (9, 9)).save(d / "img_00004.jpg"), "img_00004.jpg is 9x9"),
        (lambda d: [f.unlink() for f in d.iterdir()], "holds no image"),
    ],
)
def test_spoilt_frame_folders_are_named(spoil, reason, tmp_path):
    spoil(as_images(tmp_path / "v", moving_picture(9)))
    with pytest.raises(VideoError, match=reason):
        ImageFolder().probe(tmp_path / "v")


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        out.mux(stream.encode(sound))
        out.mux(stream.encode(None))


UNUSABLE = {
    "empty.mp4": (lambda p: p.write_bytes(b""), "cannot be decoded"),
    "garbage.mp4": (lambda p: p.write_bytes(b"not a video at all" * 100), "cannot be decoded"),
    "zeros.avi": (lambda p: p.write_bytes(bytes(5000)), "cannot be decoded"),
    "folder.mp4": (lambda p: p.mkdir(), "is a folder"),
    "absent.mp4": (lambda p: None, "no such video file"),
    "sound.mp4": (write_sound, "holds no video stream"),
    "pipe.mp4": (os.mkfifo, "no such video file"),
}


@pytest.mark.parametrize("decoder", [PyAV(20), TorchCodec(20)], ids=["pyav", "torchcodec"])
@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_files_are_named(name, decoder, tmp_path):
    if isinstance(decoder, TorchCodec):
        need_torchcodec()
    make, reason = UNUSABLE[name]
    make(tmp_path / name)
    info = VideoInfo(50, 25, 34, 34, stamps=pack(range(50)))
    for call in (lambda: decoder.probe(tmp_path / name), lambda: next(decoder.frames(tmp_path / name))):
        with pytest.raises(VideoError, match=f"{name}: {reason}"):
            call()
    with pytest.raises(VideoError, match=name):
        decoder.read(tmp_path / name, [3], (34, 34), info)


def test_what_the_system_refuses_is_no_fault_of_the_file(tmp_path, monkeypatch):
    write_video(tmp_path / "v.mp4", grey_ramp(3))

    def refuse(*_, **__):
        raise av.error.PermissionError(13, "Permission denied", str(tmp_path / "v.mp4"))

    monkeypatch.setattr(decoding.av, "open", refuse)  # root may read anything
    with pytest.raises(VideoError, match=r"v\.mp4: .*Permission denied") as caught:
        PyAV().probe(tmp_path / "v.mp4")
    assert not caught.value.lasting


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
    assert not caught.value.lasting


def test_the_deadline_is_for_all_of_a_videos_frames(encoded, monkeypatch):
    monkeypatch.setattr(decoding, "_SEEK_COST", 0)
    info = PyAV().probe(encoded["h264.mp4"])
    real = decoding._Converter.__call__

    def slow(self, frame):
        time.sleep(0.2)
        return real(self, frame)

    monkeypatch.setattr(decoding._Converter, "__call__", slow)
    with pytest.raises(VideoError, match="to decode"):
        PyAV(0.5).read(encoded["h264.mp4"], [0, 13, 26, 39, 49], (34, 34), info)


def outcome(path: Path, original: np.ndarray) -> str:
    """Decode a damaged file twice; say whether its frames are right, or it is flagged, refused, or wrong in silence."""
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
def test_damaged_files_give_right_frames_or_an_error_or_a_flag(name, encoded, tmp_path):
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


def test_a_file_that_shrinks_or_vanishes_is_named(encoded, tmp_path):
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
