"""What a person sees of an answer: its picture, its overlay and its time line."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import av
from matplotlib.colors import to_rgb

from dsn_lightning.cli.predict_summary import progress_bar
from dsn_lightning.errors import printable
from dsn_lightning.evaluation.chart_style import NEUTRAL
from dsn_lightning.files import write_atomically, write_json
from dsn_lightning.prediction.answer import Prediction, WindowAnswer
from dsn_lightning.prediction.output_folder import OVERLAYS, PICTURES, THUMBNAILS, TIME_LINES, OutputFolder
from dsn_lightning.prediction.overlay import Colour, Mark, write_overlay
from dsn_lightning.prediction.video_files import FilePredictor
from dsn_lightning.prediction.video_strip import clip_spans, read_strip
from dsn_lightning.prediction.windows import time_line, webvtt
from dsn_lightning.report.answer_picture import (
    KEPT,
    STRIP_HEIGHT,
    STRIP_WIDTH,
    label_colours,
    write_picture,
    write_thumbnail,
)
from dsn_lightning.text_tables import csv_text
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError

Place: TypeAlias = tuple[int, int]
"""Number of an answer's line, from 1, and the byte at which it begins."""


@dataclass(frozen=True)
class Drawings:
    """Makes the files that show an answer: those that are missing.

    Attributes:
        answers: knows the videos.
        output: where the files go.
        pictures: make pictures, and thumbnails for the page.
        overlay: make overlays.
    """

    answers: FilePredictor
    output: OutputFolder
    pictures: bool
    overlay: bool

    def missing(self, number: int, answer: Prediction) -> list[tuple[str, Callable[[Prediction, list[Path]], None]]]:
        """Return what has to be made of the answer in line ``number``, from 1: its name, and what makes it."""
        wanted: list[tuple[str, Callable[[Prediction, list[Path]], None]]] = []
        if answer.windows:
            wanted.append(("time line", write_time_line))
        if self.pictures:
            wanted.append(("picture", self._draw_picture))
        if self.overlay:
            wanted.append(("overlay", self._draw_overlay))
        if answer.error is not None:
            return []
        return [
            (name, make) for name, make in wanted if not all(p.is_file() for p in self._files(name, number, answer))
        ]

    def draw(self, number: int, answer: Prediction) -> Iterator[str]:
        """Make what is missing of the answer in line ``number``, from 1; yield a line for each thing that fails."""
        for name, make in self.missing(number, answer):
            try:
                make(answer, self._files(name, number, answer))
            except VideoError as error:
                yield f"{printable(answer.video)}: no {name}: {printable(error.reason)}"
            except (OSError, av.FFmpegError) as error:
                yield f"{printable(answer.video)}: no {name}: {printable(error.strerror or str(error))}"

    def missing_places(self, asked: Collection[str]) -> list[Place]:
        """Return the places of the answers of which something has to be made."""
        answers = enumerate(self.output.places(), start=1)
        return [(number, at) for number, (at, one) in answers if one.video in asked and self.missing(number, one)]

    def draw_at(self, place: Place) -> list[str]:
        """Make what is missing of the answer at a place; return a line for each thing that fails."""
        number, start = place
        return list(self.draw(number, self.output.answer_at(start)))

    def _files(self, name: str, number: int, answer: Prediction) -> list[Path]:
        kinds = {
            "time line": ((TIME_LINES, ".json"), (TIME_LINES, ".csv"), (TIME_LINES, ".vtt")),
            "picture": ((PICTURES, ".png"), (THUMBNAILS, ".jpg")),
            "overlay": ((OVERLAYS, ".mp4"),),
        }
        return [self.output.drawing(kind, number, answer.video, extension) for kind, extension in kinds[name]]

    def _draw_picture(self, answer: Prediction, files: list[Path]) -> None:
        video = self.answers.placed(answer.video)
        span = self.answers.predictor.reader.clip_span
        strip = read_strip(video, PyAV(), answer.clips, clip_span=span, width=STRIP_WIDTH, height=STRIP_HEIGHT)
        for file, write in zip(files, (write_picture, write_thumbnail), strict=True):
            if not file.is_file():
                write(answer, strip, file)

    def _draw_overlay(self, answer: Prediction, files: list[Path]) -> None:
        video = self.answers.placed(answer.video)
        selected = [clip for clip in answer.clips if clip.selected]
        spans = clip_spans(video, selected, self.answers.predictor.reader.clip_span)
        marks = [
            Mark(*span, str(clip.label), clip.score or 0, _rgb(KEPT))
            for clip, span in zip(selected, spans, strict=True)
        ]
        parts = time_line(answer.windows)
        colours = label_colours(parts)
        for part in parts:
            colour = _rgb(colours.get(part.label, NEUTRAL))
            marks.append(Mark(part.start_seconds, part.end_seconds, part.label, part.score, colour, framed=False))
        whole = (str(answer.label), answer.score or 0)
        write_overlay(video.file, video.info, files[0], answer=whole, marks=marks)


def draw_missing(drawings: Drawings, places: Sequence[Place], *, progress: bool) -> list[str]:
    """Draw what is missing of the answers at these places; return a line for each thing that fails."""
    with progress_bar(shown=progress and bool(places)) as bar:
        found = [drawings.draw_at(place) for place in bar.track(places, description="Drawing")]
    return [problem for problems in found for problem in problems]


def write_time_line(answer: Prediction, files: list[Path]) -> None:
    """Write the time line of a recording that was asked about in windows, as JSON, CSV and WebVTT, in this order."""
    parts = time_line(answer.windows)
    content = [
        {"start_seconds": p.start_seconds, "end_seconds": p.end_seconds, "label": p.label, "score": p.score}
        for p in parts
    ]
    write_json(files[0], {"video": answer.video, "time_line": content})
    write_atomically(files[1], time_line_csv(parts))
    write_atomically(files[2], webvtt(parts))


def time_line_csv(parts: Sequence[WindowAnswer]) -> str:
    """Return a time line as CSV: start_seconds, end_seconds, label, score."""
    lines = [
        {
            "start_seconds": f"{part.start_seconds:.3f}",
            "end_seconds": f"{part.end_seconds:.3f}",
            "label": printable(part.label),
            "score": f"{part.score:.6f}",
        }
        for part in parts
    ]
    return csv_text(lines, ["start_seconds", "end_seconds", "label", "score"])


def _rgb(colour: str) -> Colour:
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return red, green, blue
