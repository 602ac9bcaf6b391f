"""A copy of a video with its answer drawn in, as H.264 in MP4 that browsers play, with its sound."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dsn_lightning.prediction.shown_text import percent_after, text_font
from dsn_lightning.video.decoder import Frames
from dsn_lightning.video.pyav_decoder import ONLY_THIS_FILE, PyAV
from dsn_lightning.video.video_info import VideoInfo, unpack

_CLOCK = 90_000  # units of a second in which frames are placed
_PLAYED_AS_IT_IS = ("aac", "mp3", "opus", "flac")
"""Codecs of sound that browsers play in MP4; others become AAC."""
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_BT709 = 1  # the number of these colours in H.264

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Mark:
    """A part of a video that is marked while it plays and on the bar of the whole video.

    Attributes:
        start_seconds, end_seconds: the part, half-open, from the video's first frame.
        label: the answer for this part.
        score: its probability, in [0, 1].
        colour: of the mark, RGB in [0, 255].
        framed: whether the picture has a frame during this part.
    """

    start_seconds: float
    end_seconds: float
    label: str
    score: float
    colour: Colour
    framed: bool = True


class AnswerPainter:
    """Draws an answer into frames of one size: texts at the top, the bar of the whole video at the bottom."""

    def __init__(
        self, height: int, width: int, *, duration: float, answer: tuple[str, float], marks: Sequence[Mark]
    ) -> None:
        """Lay out the drawing.

        Args:
            height, width: of the frames, in pixels.
            duration: of the video in seconds.
            answer: label and score of the whole video.
            marks: parts to mark; where several overlap, the last one that has begun is shown.
        """
        side = min(height, width)
        self._marks = sorted(marks, key=lambda mark: mark.start_seconds)
        self._answer = answer
        self._duration = max(duration, 1e-9)
        self._letters = max(9, side // 22)
        self._edge = max(2, side // 90)
        self._width = width
        bar = np.full((max(3, side // 40), width, 3), 60, np.uint8)
        for mark in self._marks:
            first, last = self._pixel(mark.start_seconds), self._pixel(mark.end_seconds)
            bar[:, first : max(last, first + 1)] = mark.colour
        self._bar = bar
        self._texts: dict[Mark | None, NDArray[np.float32]] = {}

    def __call__(self, frame: Frames, seconds: float) -> Frames:
        """Return a frame (height, width, 3), displayed at a time, with the answer drawn in."""
        drawn = np.array(frame)
        mark = next((m for m in reversed(self._marks) if m.start_seconds <= seconds < m.end_seconds), None)
        letters = self._text(mark)[: len(drawn)]
        top = drawn[: len(letters)]
        top[:] = top * 0.35 * (1 - letters) + 255 * letters  # white on a darkened ground
        if mark is not None and mark.framed:
            edge = self._edge
            for part in (drawn[:edge], drawn[-edge:], drawn[:, :edge], drawn[:, -edge:]):
                part[:] = mark.colour
        drawn[-len(self._bar) :] = self._bar[-len(drawn) :]
        here = self._pixel(seconds)
        drawn[-len(self._bar) :, max(0, here - self._edge // 2) : here + max(1, self._edge // 2)] = 255
        return drawn

    def _pixel(self, seconds: float) -> int:
        return int(np.clip(seconds / self._duration * self._width, 0, self._width - 1))

    def _text(self, mark: Mark | None) -> NDArray[np.float32]:
        """Return how white each pixel of the texts is, in [0, 1], (rows, width, 1)."""
        if mark not in self._texts:
            pad, line = self._edge * 2, round(1.35 * self._letters)
            image = Image.new("L", (self._width, 2 * line + 2 * pad))
            draw = ImageDraw.Draw(image)
            shown = [(self._answer, True), *([((mark.label, mark.score), False)] if mark else [])]
            for row, ((label, score), bold) in enumerate(shown):
                font = text_font(self._letters, bold=bold)
                text = percent_after(label, score, self._width - 2 * pad, font)
                draw.text((pad, pad + row * line), text, fill=255, font=font)
            if len(self._texts) > 100:  # of a long recording, only the latest are needed again
                self._texts.clear()
            self._texts[mark] = np.asarray(np.asarray(image)[..., None] / 255, np.float32)
        return self._texts[mark]


def write_overlay(
    source: Path, info: VideoInfo, target: Path, *, answer: tuple[str, float], marks: Sequence[Mark]
) -> None:
    """Write all frames of a video, upright and at their times, with its answer drawn in.

    An odd width or height grows by one pixel. Sound that browsers play in MP4 is copied, other sound becomes AAC.

    Args:
        source: the video.
        info: what indexing it found.
        target: the MP4 to write; it appears when it is complete.
        answer: label and score of the whole video.
        marks: parts to mark.

    Raises:
        VideoError: the video cannot be read.
        av.FFmpegError: its sound cannot be read, or the file cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        try:
            _write(source, info, partial, answer=answer, marks=marks, copy_sound=True)
        except av.error.ArgumentError:  # MP4 does not take this sound as it is, such as MP3 at 8 kHz
            _write(source, info, partial, answer=answer, marks=marks, copy_sound=False)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _write(
    source: Path,
    info: VideoInfo,
    target: Path,
    *,
    answer: tuple[str, float],
    marks: Sequence[Mark],
    copy_sound: bool,
) -> None:
    height, width = info.height + info.height % 2, info.width + info.width % 2
    paint = AnswerPainter(height, width, duration=info.duration, answer=answer, marks=marks)
    with ExitStack() as stack:
        out = stack.enter_context(av.open(target, "w", format="mp4", options={"movflags": "+faststart"}))
        file = stack.enter_context(av.open(source, metadata_errors="replace", options=ONLY_THIS_FILE))
        audio = _audio_stream(file)
        begin = min(_first_time(info), _start_of(audio, default=_first_time(info)))  # the copy begins with the earlier
        picture = _picture_stream(out, height, width, info.fps)
        picture.codec_context.sample_aspect_ratio = _pixel_aspect(file, info)
        sound = iter(()) if audio is None else _sound(out, file, audio, begin, copy=copy_sound)
        waiting = next(sound, None)
        for frame, seconds in zip(PyAV().frames(source, (height, width)), info.times.tolist(), strict=False):
            moment = seconds + _first_time(info) - begin
            out.mux(_encoded(picture, paint(frame, seconds), moment, info.fps))
            while waiting is not None and _time_of(waiting) <= moment:
                out.mux(waiting)
                waiting = next(sound, None)
        out.mux(_encoded(picture, None, 0, info.fps))
        while waiting is not None:
            out.mux(waiting)
            waiting = next(sound, None)


def _picture_stream(out: OutputContainer, height: int, width: int, fps: float) -> VideoStream:
    rate = Fraction(fps).limit_denominator(1001)
    stream = out.add_stream("libx264", rate=max(rate, Fraction(1, 1000)), options={"preset": "veryfast", "crf": "23"})
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    stream.time_base = stream.codec_context.time_base = Fraction(1, _CLOCK)
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = ColorRange.MPEG
    return stream


def _pixel_aspect(file: InputContainer, info: VideoInfo) -> Fraction:
    """Return width over height of a displayed pixel."""
    stream = file.streams[info.stream]
    if not isinstance(stream, VideoStream) or not stream.sample_aspect_ratio:
        return Fraction(1)
    aspect = Fraction(stream.sample_aspect_ratio)
    return aspect if (stream.width >= stream.height) == (info.width >= info.height) else 1 / aspect


def _encoded(stream: VideoStream, pixels: Frames | None, seconds: float, fps: float) -> list[Packet]:
    """Return the packets that a frame completes; those that are left for None."""
    frame = None
    if pixels is not None:
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = round(seconds * _CLOCK), Fraction(1, _CLOCK)
    packets = stream.encode(frame)
    for packet in packets:
        packet.duration = packet.duration or round(_CLOCK / fps)  # counts for the last one
    return packets


def _first_time(info: VideoInfo) -> float:
    """Return when the video's first frame is displayed on the clock of its file, in seconds."""
    return float(unpack(info.stamps)[0] * Fraction(*info.time_base)) if info.stamps else 0.0


def _audio_stream(file: InputContainer) -> AudioStream | None:
    """Return the sound of a file, if it has any that can be decoded."""
    stream = file.streams.best("audio")
    return stream if isinstance(stream, AudioStream) and stream.codec_context is not None else None


def _start_of(stream: AudioStream | None, *, default: float) -> float:
    if stream is None or stream.start_time is None or stream.time_base is None:
        return default
    return float(stream.start_time * stream.time_base)


def _sound(
    out: OutputContainer, file: InputContainer, stream: AudioStream, begin: float, *, copy: bool
) -> Iterator[Packet]:
    """Add a stream for the sound of a file, and return its packets on a clock that begins at ``begin``."""
    context = stream.codec_context
    if copy and context.codec.canonical_name in _PLAYED_AS_IT_IS:
        return _copied(file, stream, out.add_stream_from_template(stream), begin)
    rate = context.sample_rate if context.sample_rate in _AAC_RATES else 48_000
    layout = "mono" if context.layout.nb_channels == 1 else "stereo"
    return _re_encoded(file, stream, out.add_stream("aac", rate=rate, layout=layout), begin)


def _copied(file: InputContainer, stream: AudioStream, target: AudioStream, begin: float) -> Iterator[Packet]:
    for packet in file.demux(stream):
        if packet.size and packet.dts is not None and packet.time_base is not None:
            shift = round(begin / packet.time_base)
            packet.dts -= shift
            packet.pts = packet.dts if packet.pts is None else packet.pts - shift
            packet.stream = target
            yield packet


def _re_encoded(file: InputContainer, stream: AudioStream, target: AudioStream, begin: float) -> Iterator[Packet]:
    for frame in file.decode(stream):
        if frame.pts is not None and frame.time_base is not None:
            frame.pts -= round(begin / frame.time_base)
        yield from target.encode(frame)
    yield from target.encode(None)


def _time_of(packet: Packet) -> float:
    return float((packet.dts or 0) * (packet.time_base or 0))
