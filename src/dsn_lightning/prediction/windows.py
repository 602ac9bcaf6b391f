"""Long recordings: an answer for each window, and the time line that they make."""

import time
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from dsn_lightning.errors import printable
from dsn_lightning.prediction.answer import Prediction, Scores, WindowAnswer, best
from dsn_lightning.prediction.predictor import DecodedOnce, Effort, Predictor
from dsn_lightning.video.time_line import Video
from dsn_lightning.video.video_info import VideoError

Span = tuple[float, float]
"""Half-open part of a recording, in seconds."""

MOST_WINDOWS = 10**6
"""Windows of a recording at most: 11 days with one per second."""


def window_spans(duration: float, *, seconds: float, stride: float) -> list[Span]:
    """Return the windows of a recording; the last one ends with it.

    >>> window_spans(12, seconds=10, stride=5)
    [(0.0, 10.0), (5.0, 12.0)]

    Raises:
        ValueError: there are more than `MOST_WINDOWS`, as after a jump of the time stamps.
    """
    if (duration - seconds) / stride > MOST_WINDOWS:
        raise ValueError(f"its {duration:.3g} s have more than {MOST_WINDOWS} windows; window.stride={stride:g}")
    count = 1 + max(0, int(np.ceil((duration - seconds) / stride - 1e-9)))
    starts = [float(k * stride) for k in range(count)]
    return [(start, min(start + seconds, float(duration))) for start in starts]


def predict_windows(
    predictor: Predictor,
    part: Callable[[Span], Video],
    spans: Sequence[Span],
    effort: Effort,
    *,
    name: str,
    started: float,
) -> Prediction:
    """Return the answer for each window of a recording, and that of their mean.

    Args:
        predictor: answers for one window.
        part: gives a window as a video on its time line; a `VideoError` leaves out a window without a frame.
        spans: of the windows, see `window_spans`.
        effort: what each window may cost; its seconds count from the start of the window.
        name: the path as it was given.
        started: when the file was opened (`time.perf_counter`).
    """
    decoding = time.perf_counter() - started  # so far: indexing
    found: list[tuple[Span, Scores]] = []
    gmacs = 0.0
    for span in spans:
        frames = DecodedOnce(predictor.reader.read)
        try:
            video = part(span)
        except VideoError as error:
            problem = error
            continue
        chosen = predictor.choose(video, effort, frames, started=time.perf_counter())
        gmacs += predictor.costs.gmacs(classified=len(chosen.order), candidates=chosen.starts.size)
        decoding += frames.seconds
        found.append((span, chosen.scores))
    if not found:
        raise problem
    top5 = best(np.mean([scores for _, scores in found], 0), predictor.classes)
    return Prediction(
        video=name,
        label=top5[0][0],
        score=top5[0][1],
        top5=top5,
        duration_seconds=spans[-1][1],
        gmacs=gmacs,
        seconds=time.perf_counter() - started,
        decoding_seconds=decoding,
        windows=tuple(WindowAnswer(*span, *best(scores, predictor.classes, 1)[0]) for span, scores in found),
    )


def time_line(windows: Sequence[WindowAnswer]) -> list[WindowAnswer]:
    """Return parts that do not overlap, neighbours of one label joined; each moment belongs to the latest window.

    The score of a joined part is the mean of its windows.

    >>> run = WindowAnswer(5, 12, "run", 0.75), WindowAnswer(10, 15, "run", 0.25)
    >>> [(part.start_seconds, part.end_seconds, part.label, part.score) for part in
    ...  time_line([WindowAnswer(0, 10, "walk", 0.5), *run])]
    [(0, 5, 'walk', 0.5), (5, 15, 'run', 0.5)]
    """
    groups: list[list[WindowAnswer]] = []
    for window in windows:
        last = groups[-1][-1] if groups else None
        if last is not None and last.label == window.label and last.end_seconds >= window.start_seconds:
            groups[-1].append(window)
        else:
            groups.append([window])
    parts = []
    for group, after in zip(groups, [*groups[1:], None], strict=False):  # none for no windows
        end = group[-1].end_seconds if after is None else min(group[-1].end_seconds, after[0].start_seconds)
        score = float(np.mean([window.score for window in group]))
        parts.append(WindowAnswer(group[0].start_seconds, end, group[0].label, score))
    return parts


def webvtt(parts: Sequence[WindowAnswer]) -> str:
    """Return a time line as WebVTT, which players show as subtitles."""
    cues = [
        f"{_clock(part.start_seconds)} --> {_clock(part.end_seconds)}\n{_cue_text(part.label)} {part.score:.1%}\n"
        for part in parts
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _cue_text(label: str) -> str:
    return escape(" ".join(printable(label).split()), quote=False)
