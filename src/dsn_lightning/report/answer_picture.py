"""The picture of one answer: a strip of the whole video, the policy or the time line below it, and the answer."""

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from PIL import Image

from dsn_lightning.evaluation.chart_style import INK, NEUTRAL, PALETTE, SOFT, label_axes
from dsn_lightning.prediction.answer import Clip, Prediction, WindowAnswer
from dsn_lightning.prediction.shown_text import percent_after, shortened, text_font
from dsn_lightning.prediction.video_strip import VideoStrip
from dsn_lightning.prediction.windows import time_line

KEPT = PALETTE[3]
"""Colour of clips that the classifier saw; others are grey."""

WIDTH = 1200
"""Of a picture, in pixels."""
_LEFT, _RIGHT = 75, 25
STRIP_WIDTH, STRIP_HEIGHT = WIDTH - _LEFT - _RIGHT, 90
"""Of the strip of a video, in pixels; the height is about this."""

_TITLE, _BARS, _AXIS, _ANSWERS = 44, 150, 32, 42  # heights in pixels
_NARROW = 75  # pixels; texts below bars that are closer are turned
_LETTERS, _SMALL = 14, 13  # heights of letters in pixels
_DPI = 100
_NUM_COLOURS = 7  # of labels in a time line; the others are grey


def answer_figure(answer: Prediction, strip: VideoStrip) -> Figure:
    """Draw an answer: title, strip, bars of the candidates' probabilities or of the windows' answers.

    Args:
        answer: of a video that could be read.
        strip: its frames, with the places of its candidates.
    """
    turned = bool(answer.clips) and STRIP_WIDTH / (1 + max(c.section for c in answer.clips)) < _NARROW
    image = _in_a_row(strip.thumbnails)
    foot = _ANSWERS + (90 if turned else 0)
    height = _TITLE + image.shape[0] + 8 + _BARS + _AXIS + foot
    figure = Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI)

    def axes_at(bottom: int, of_height: int) -> Axes:
        return figure.add_axes((_LEFT / WIDTH, bottom / height, STRIP_WIDTH / WIDTH, of_height / height))

    _draw_title(figure, answer, height)
    above, below = axes_at(foot + _AXIS + _BARS + 8, image.shape[0]), axes_at(foot + _AXIS, _BARS)
    above.imshow(image, extent=(0, strip.duration, 0, 1), aspect="auto")
    above.set_axis_off()
    label_axes(below, "", "probability (%)" if answer.clips else "score (%)")
    below.tick_params(labelsize=9)
    below.yaxis.label.set_fontsize(9)
    for axes in (above, below):
        axes.set_xlim(0, strip.duration)
    below.set_ylim(0, 100)
    below.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g} s"))
    if answer.clips:
        _draw_candidates(above, below, answer.clips, strip, turned=turned)
    else:
        _draw_time_line(below, time_line(answer.windows), strip.duration)
    return figure


def write_picture(answer: Prediction, strip: VideoStrip, path: Path) -> None:
    """Write `answer_figure` as PNG, `WIDTH` pixels wide; it appears when it is complete."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # names may be in any script
        answer_figure(answer, strip).savefig(content, format="png")
    write_bytes(path, content.getvalue())


def write_thumbnail(answer: Prediction, strip: VideoStrip, path: Path) -> None:
    """Write the frame of the strip that is nearest to the most certain clip that the classifier saw, as JPEG."""
    middles = [(start + end) / 2 for start, end in strip.spans]
    seen = [(clip.score or 0, middle) for clip, middle in zip(answer.clips, middles, strict=True) if clip.selected]
    moment = max(seen)[1] if seen else strip.duration / 2
    count = len(strip.thumbnails)
    frame = strip.thumbnails[min(count - 1, int(moment / strip.duration * count))]
    image, content = Image.fromarray(frame), io.BytesIO()
    image.thumbnail((160, 120))
    image.save(content, "JPEG", quality=60, optimize=True)
    write_bytes(path, content.getvalue())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees either nothing or the whole of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def _in_a_row(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return frames (K, h, w, 3) side by side in the width of the strip, white where they do not fill it."""
    count, height, width = thumbnails.shape[:3]
    edges = np.linspace(0, STRIP_WIDTH, count + 1).astype(int)
    row = np.full((height, STRIP_WIDTH, 3), 255, np.uint8)
    for image, left, right in zip(thumbnails, edges[:-1], edges[1:], strict=True):
        first = left + (right - left - width) // 2
        row[:, first : first + width] = image
    return row


def _draw_title(figure: Figure, answer: Prediction, height: int) -> None:
    large, small = text_font(20, bold=True), text_font(_LETTERS)
    title = percent_after(str(answer.label), answer.score or 0, 0.6 * WIDTH, large)
    name = shortened(Path(answer.video).name, 0.3 * WIDTH, small)
    line = 1 - 25 / height
    pixels = 72 / _DPI
    figure.text(
        _LEFT / WIDTH, line, title, fontsize=20 * pixels, weight="bold", color=INK, va="center", parse_math=False
    )
    right = 1 - _RIGHT / WIDTH
    figure.text(right, line, name, fontsize=_LETTERS * pixels, color=SOFT, va="center", ha="right", parse_math=False)


def _draw_candidates(above: Axes, below: Axes, clips: Sequence[Clip], strip: VideoStrip, *, turned: bool) -> None:
    """Draw the bars, the borders of the sections, frames around the kept clips and what the classifier said."""
    seconds_per_pixel = strip.duration / STRIP_WIDTH
    per_section = 1 + max(clip.clip for clip in clips)
    for start, _ in strip.shares[per_section::per_section]:
        above.axvline(start, color="white", lw=3)
        above.axvline(start, color=INK, lw=1)
        below.axvline(start, color=SOFT, lw=1)
    for clip, share, (start, end) in zip(clips, strip.shares, strip.spans, strict=True):
        middle, width = (share[0] + share[1]) / 2, share[1] - share[0]
        colour = KEPT if clip.selected else NEUTRAL
        below.bar(middle, 100 * clip.probability, width=0.8 * width, color=colour, zorder=2)
        if width / seconds_per_pixel >= 40:
            top = 100 * clip.probability
            place: dict[str, Any] = {"va": "top", "color": "white"} if top > 85 else {"va": "bottom", "color": INK}
            below.text(middle, top, f"{clip.probability:.1%}", fontsize=8, ha="center", **place)
        if clip.selected:
            wide = max(end - start, 6 * seconds_per_pixel)
            left = min(max(0.0, (start + end - wide) / 2), max(0.0, strip.duration - wide))
            frame = Rectangle((left, 0.01), wide, 0.98, fill=False, ec=KEPT, lw=3, zorder=3)
            above.add_patch(frame)
            first = clip.section * per_section
            section = strip.shares[first][0], strip.shares[first + per_section - 1][1]
            room = (section[1] - section[0]) / seconds_per_pixel
            _draw_clip_answer(below, clip, sum(section) / 2, room, turned=turned)


def _draw_clip_answer(below: Axes, clip: Clip, middle: float, room: float, *, turned: bool) -> None:
    font = text_font(_SMALL)
    shown: dict[str, Any] = {"transform": below.get_xaxis_transform(), "color": KEPT, "parse_math": False}
    size = _SMALL * 72 / _DPI
    label, score = str(clip.label), clip.score or 0
    if turned:
        text = percent_after(label, score, 115, font)
        below.text(middle, -32 / _BARS, text, fontsize=size, rotation=90, va="top", ha="center", **shown)
    else:
        text = f"{shortened(label, room - 6, font)}\n{score:.1%}"
        below.text(middle, -32 / _BARS, text, fontsize=size, va="top", ha="center", **shown)


def _draw_time_line(below: Axes, parts: Sequence[WindowAnswer], duration: float) -> None:
    """Draw a bar for each part, as high as its score, with its label where there is room; the key names the colours."""
    font, size = text_font(_SMALL), _SMALL * 72 / _DPI
    colours = label_colours(parts)
    for part in parts:
        width = part.end_seconds - part.start_seconds
        colour = colours.get(part.label, NEUTRAL)
        below.bar(part.start_seconds, 100 * part.score, width=width, align="edge", color=colour, ec="white", lw=0.5)
        room = width / duration * STRIP_WIDTH - 8
        if room >= 40:
            text = shortened(part.label, room, font)
            middle, top = part.start_seconds + width / 2, 100 * part.score - (2 if part.score > 0.5 else 0)
            place: dict[str, Any] = (
                {"va": "top", "color": "white"} if part.score > 0.5 else {"va": "bottom", "color": INK}
            )
            below.text(middle, top, text, fontsize=size, ha="center", parse_math=False, **place)
    keys = [Rectangle((0, 0), 1, 1, color=colour) for colour in colours.values()]
    names = [shortened(label, STRIP_WIDTH / _NUM_COLOURS - 50, font) for label in colours]
    corner: dict[str, Any] = {"bbox_to_anchor": (0, -38 / _BARS), "borderpad": 0, "borderaxespad": 0}
    key = below.legend(
        keys, names, ncols=len(keys), fontsize=size, frameon=False, labelcolor=INK, loc="upper left", **corner
    )
    for entry in key.get_texts():
        entry.set_parse_math(False)


def label_colours(parts: Sequence[WindowAnswer]) -> dict[str, str]:
    """Return the labels that last longest, each with its colour, the longest first.

    >>> label_colours([WindowAnswer(0, 2, "run", 0.9), WindowAnswer(2, 6, "walk", 0.5)]).keys()
    dict_keys(['walk', 'run'])
    """
    seconds: dict[str, float] = {}
    for part in parts:
        seconds[part.label] = seconds.get(part.label, 0.0) + part.end_seconds - part.start_seconds
    order = sorted(seconds, key=lambda label: -seconds[label])[:_NUM_COLOURS]
    return dict(zip(order, PALETTE, strict=False))
