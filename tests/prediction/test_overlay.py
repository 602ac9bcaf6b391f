"""An overlay has all frames and the sound of its video, upright and at their times, with the answer drawn in."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from conftest import grey_ramp, write_video
from dsn_lightning.prediction.overlay import Mark, write_overlay
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError

RED, BLUE = (200, 30, 30), (30, 30, 200)
SECONDS = 2


def with_sound(path: Path, codec: str, rate: int) -> Path:
    """Write 50 grey frames of 120x160 at 25 fps with a tone of the same length."""
    layout = "mono"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"crf": "1"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        sound = out.add_stream(codec, rate=rate, layout=layout)
        for image in np.full((25 * SECONDS, 120, 160, 3), 128, np.uint8):
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(video.encode(None))
        tone = np.sin(np.arange(SECONDS * rate) * 2 * np.pi * 440 / rate).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return path


def overlay(source: Path, target: Path, *marks: Mark) -> Path:
    write_overlay(source, PyAV().probe(source), target, answer=("walk", 0.75), marks=marks)
    return target


def sound_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(file.streams.audio[0]) if packet.size]


def picture_of(path: Path) -> tuple[np.ndarray, list[float]]:
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), [frame.time for frame in frames]


@pytest.mark.parametrize(("name", "codec", "rate"), [("a.mp4", "aac", 44100), ("a.mkv", "libopus", 48000)])
def test_sound_that_browsers_play_is_copied(tmp_path, name, codec, rate):
    source = with_sound(tmp_path / name, codec, rate)
    assert sound_of(overlay(source, tmp_path / "out.mp4")) == sound_of(source)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.avi", "pcm_s16le", 11000), ("a.mkv", "ac3", 48000), ("a.avi", "libmp3lame", 8000)],  # no MP3 at 8 kHz in MP4
)
def test_other_sound_becomes_aac(tmp_path, name, codec, rate):
    made = overlay(with_sound(tmp_path / name, codec, rate), tmp_path / "out.mp4")
    with av.open(str(made)) as file:
        stream = file.streams.audio[0]
        assert stream.codec_context.name == "aac"
        samples = sum(frame.samples for frame in file.decode(stream))
        assert samples / stream.codec_context.sample_rate == pytest.approx(SECONDS, abs=0.2)


def test_frames_times_and_format(tmp_path):
    source = with_sound(tmp_path / "a.mp4", "aac", 44100)
    made = overlay(source, tmp_path / "deep" / "out.mp4")
    before, after = picture_of(source), picture_of(made)
    assert after[0].shape == before[0].shape
    np.testing.assert_allclose(np.diff(after[1]), np.diff(before[1]), atol=1e-4)
    np.testing.assert_allclose(after[0][:, 60:100], before[0][:, 60:100], atol=6)  # below the texts, above the bar
    content = made.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays before it is loaded
    with av.open(str(made)) as file:
        context = file.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert float(file.streams.video[0].duration * file.streams.video[0].time_base) == pytest.approx(SECONDS)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out.mp4"]


def test_marks_are_drawn_while_they_last(tmp_path):
    write_video(tmp_path / "a.mp4", np.full((50, 120, 160, 3), 128, np.uint8))
    marks = Mark(0.4, 0.8, "run", 0.5, RED), Mark(1.2, 1.6, "jump", 0.5, BLUE, framed=False)
    frames, _ = picture_of(overlay(tmp_path / "a.mp4", tmp_path / "out.mp4", *marks))
    plain, _ = picture_of(overlay(tmp_path / "a.mp4", tmp_path / "plain.mp4"))
    reddish = (frames[:, 60, 0].astype(int) @ [1, -1, 0]) > 60  # the left edge
    assert np.flatnonzero(reddish).tolist() == list(range(10, 20))
    texts = [i for i in range(50) if np.abs(frames[i, 11:20, 5:80].astype(int) - plain[i, 11:20, 5:80]).max() > 100]
    assert texts == [*range(10, 20), *range(30, 40)]
    bar = frames[-1, -2].astype(int)  # two seconds on 160 pixels
    assert (bar[34:62] @ [1, 0, -1] > 60).all()
    assert (bar[98:126] @ [-1, 0, 1] > 60).all()
    assert (np.abs(bar[66:94] @ [1, 0, -1]) < 30).all()


def test_long_names_in_any_script_are_drawn_in_tiny_videos(tmp_path):
    write_video(tmp_path / "a.mp4", grey_ramp(5, side=16))
    names = ("a\nlong name " * 50, "短い動画", "\udcff", "")
    for name in names:
        source, mark = tmp_path / "a.mp4", Mark(0, 0.1, name, 0.5, RED)
        write_overlay(source, PyAV().probe(source), tmp_path / "o.mp4", answer=(name, 1.0), marks=[mark])
        assert len(picture_of(tmp_path / "o.mp4")[0]) == 5


def test_real_files_are_upright_and_of_even_size(real_data, tmp_path):
    for name, size in [
        ("nasa_13013_rotated.mp4", (480, 270)),
        ("testsrc2_odd_height_and_width_vp9.mp4", (242, 322)),
        ("test_non_zero_start.mp4", (112, 200)),
        ("video_90.mov", (568, 320)),
    ]:
        source = real_data / "assets" / name
        info = PyAV().probe(source)
        frames, times = picture_of(overlay(source, tmp_path / "o.mp4"))
        assert frames.shape[:3] == (info.num_frames, *size)
        np.testing.assert_allclose(np.subtract(times, times[0]), info.times, atol=1e-4)
        middle = slice(size[0] // 3, size[0] * 2 // 3)
        upright = np.stack(list(PyAV().frames(source, size)))[:, middle].astype(int)
        assert np.abs(frames[:, middle] - upright).mean() < 10


def test_nothing_is_left_of_an_overlay_that_fails(tmp_path):
    source = with_sound(tmp_path / "a.mp4", "aac", 44100)
    info = PyAV().probe(source)
    source.write_bytes(source.read_bytes()[:3000])
    with pytest.raises((VideoError, av.FFmpegError)):
        write_overlay(source, info, tmp_path / "o" / "o.mp4", answer=("walk", 0.5), marks=[])
    assert list((tmp_path / "o").iterdir()) == []
