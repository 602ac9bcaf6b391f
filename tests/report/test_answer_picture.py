"""The picture of an answer shows the whole video, the candidates' probabilities and what the classifier said."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from conftest import write_video
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.evaluation.chart_style import NEUTRAL, PALETTE
from dsn_lightning.prediction.answer import Clip, Prediction, WindowAnswer
from dsn_lightning.prediction.video_strip import VideoStrip, read_strip
from dsn_lightning.report.answer_picture import KEPT, WIDTH, answer_figure, write_picture, write_thumbnail
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.time_line import Video, place_on_time_line

PROBABILITIES = ((0.8, 0.15, 0.05), (0.3, 0.1, 0.6))


@pytest.fixture
def video(tmp_path: Path) -> Video:
    """100 frames at 25 fps whose brightness rises by 2 from frame to frame."""
    brightness = (20 + 2 * np.arange(100)).astype(np.uint8)
    frames = np.broadcast_to(brightness[:, None, None, None], (100, 90, 160, 3))
    write_video(tmp_path / "a.mp4", frames)
    path = tmp_path / "a.mp4"
    return place_on_time_line(VideoRecord("a", path, ()), PyAV().probe(path), None)


def answer(*, windows: tuple[WindowAnswer, ...] = (), label: str = "walk") -> Prediction:
    """An answer for `video`: candidates of 8 frames at the middles of its sixths."""
    clips = []
    for m, row in enumerate(PROBABILITIES):
        for n, probability in enumerate(row):
            start, kept = round((3 * m + n + 0.5) * 100 / 6) - 4, probability == max(row)
            clips.append(
                Clip(m, n, start, start / 25, probability, kept, label if kept else None, 0.5 if kept else None)
            )
    return Prediction("a.mp4", label, 0.873, ((label, 0.873),), 4.0, () if windows else tuple(clips), windows=windows)


def strip_of(video: Video, answer: Prediction) -> VideoStrip:
    return read_strip(video, PyAV(), answer.clips, clip_span=8, width=1100, height=90)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB")).astype(int)


def is_colour(image: np.ndarray, colour: str) -> np.ndarray:
    return np.abs(image - np.round(255 * np.array(to_rgb(colour)))).max(-1) < 3


def test_thumbnails_are_evenly_spaced_and_spans_are_in_seconds(video):
    strip = strip_of(video, answer())
    count = len(strip.thumbnails)
    assert count >= 4
    shown = (strip.thumbnails.mean((1, 2, 3)) - 20) / 2  # number of the frame
    np.testing.assert_allclose(shown, (np.arange(count) + 0.5) / count * 100, atol=2)
    np.testing.assert_allclose(strip.shares, [(i * 4 / 6, (i + 1) * 4 / 6) for i in range(6)], atol=1e-6)
    starts = [round((i + 0.5) * 100 / 6) - 4 for i in range(6)]
    np.testing.assert_allclose(strip.spans, [(s / 25, (s + 8) / 25) for s in starts], atol=1e-6)
    assert strip.duration == pytest.approx(4)


def test_heights_of_the_bars_are_the_probabilities(video, tmp_path):
    write_picture(answer(), strip_of(video, answer()), tmp_path / "p.png")
    image = pixels(tmp_path / "p.png")
    assert image.shape[1] == WIDTH
    heights = []
    for i in range(6):
        left, right = 75 + round((i + 0.12) * 1100 / 6), 75 + round((i + 0.16) * 1100 / 6)  # left of the numbers
        part = image[150:, left:right]
        probability = np.ravel(PROBABILITIES)[i]
        colour = KEPT if probability in (0.8, 0.6) else NEUTRAL
        heights.append(is_colour(part, colour).all(1).sum())
    np.testing.assert_allclose(np.array(heights) / heights[0] * 0.8, np.ravel(PROBABILITIES), atol=0.02)
    assert heights[0] == pytest.approx(120, abs=2)  # of 150 pixels


def test_kept_clips_are_framed_and_sections_divided(video):
    strip = strip_of(video, answer())
    above, below = answer_figure(answer(), strip).axes
    frames = [patch for patch in above.patches if not patch.get_fill()]
    assert [(p.get_x(), p.get_x() + p.get_width()) for p in frames] == [
        pytest.approx(strip.spans[0]),
        pytest.approx(strip.spans[5]),
    ]
    assert [line.get_xdata()[0] for line in below.lines] == [pytest.approx(2)]
    texts = [text.get_text() for text in below.texts]
    assert texts.count("walk\n50.0%") == 2
    assert "80.0%" in texts


@pytest.mark.parametrize("label", ["a $name$ that is long " * 20, "two\nlines", "短い動画", "\udcff<b>"])
def test_names_are_one_line_that_fits(video, label, tmp_path):
    figure = answer_figure(answer(label=label), strip_of(video, answer()))
    (title,) = [text for text in figure.texts if "87.3%" in text.get_text()]
    assert "\n" not in title.get_text()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        assert title.get_window_extent().width < 0.62 * WIDTH
    write_picture(answer(label=label), strip_of(video, answer()), tmp_path / "p.png")


def test_windows_are_a_time_line(video, tmp_path):
    windows = WindowAnswer(0, 1, "walk", 0.4), WindowAnswer(1, 4, "a very long name of an action " * 9, 0.8)
    of_windows = answer(windows=windows)
    strip = strip_of(video, of_windows)
    write_picture(of_windows, strip, tmp_path / "p.png")
    image = pixels(tmp_path / "p.png")
    longest, other = is_colour(image[:300, :], PALETTE[0]).sum(0), is_colour(image[:300, :], PALETTE[1]).sum(0)
    assert longest[1000] == pytest.approx(120, abs=2)
    assert other[80:84].max() == pytest.approx(60, abs=2)
    assert other[360:].max() == 0
    assert longest[:340].max() == 0


def test_the_thumbnail_shows_the_most_certain_clip(video, tmp_path):
    kept = answer()
    write_thumbnail(kept, strip_of(video, kept), tmp_path / "t.jpg")
    content = (tmp_path / "t.jpg").read_bytes()
    image = Image.open(io.BytesIO(content))
    assert image.format == "JPEG"
    assert max(image.size) <= 160
    frame = (np.asarray(image).mean() - 20) / 2
    assert frame == pytest.approx(92, abs=12)  # the last sixth: of equal scores, the later one


def test_a_video_of_one_frame_and_real_files_are_drawn(real_data, tmp_path):
    for name in ("testsrc2_mpeg4.mp4", "nasa_13013_rotated.mp4", "ntu_irregular_timestamps.avi", "video_90.mov"):
        path = real_data / "assets" / name
        placed = place_on_time_line(VideoRecord("a", path, ()), PyAV().probe(path), None)
        clips = tuple(
            Clip(m, n, min(m, placed.num_frames - 1), 0.0, 0.5, n == 0, "walk" if n == 0 else None, 0.9)
            for m in range(20)
            for n in range(2)
        )
        many = Prediction(name, "walk", 0.9, (("walk", 0.9),), 1.0, clips)
        write_picture(many, strip_of(placed, many), tmp_path / "p.png")
        assert pixels(tmp_path / "p.png").shape[1] == WIDTH
