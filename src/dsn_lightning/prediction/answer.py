"""What a trained model answers for a video, as plain values."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from html import escape
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]

_Object = TypeVar("_Object")


_FIGURES = ("duration_seconds", "gmacs", "seconds", "decoding_seconds")
_SHARES, _ROUNDING = ("score", "probability"), 1e-6


@dataclass(frozen=True)
class Clip:
    """A candidate clip.

    Attributes:
        section: its section, from 0.
        clip: its number in the section, from 0.
        start_frame: its first frame on the video's time line.
        start_seconds: when it begins, in seconds of the file.
        probability: that the policy gives it among the clips of its section, in [0, 1].
        selected: whether the classifier saw it.
        label: the classifier's answer for this clip alone; None unless selected.
        score: probability of ``label``; None unless selected.
    """

    section: int
    clip: int
    start_frame: int
    start_seconds: float
    probability: float
    selected: bool
    label: str | None = None
    score: float | None = None


@dataclass(frozen=True)
class WindowAnswer:
    """The answer for a part of a long recording.

    Attributes:
        start_seconds, end_seconds: the part, half-open, in seconds of the file.
        label: the most probable class.
        score: its probability, in [0, 1].
    """

    start_seconds: float
    end_seconds: float
    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one video; a line of ``predictions.jsonl``.

    Attributes:
        video: the path as it was given.
        label: the most probable class; None if the video cannot be read.
        score: its probability, in [0, 1].
        top5: up to five classes with their probabilities, the most probable first.
        duration_seconds: length of the video.
        clips: all candidates, those that were classified marked as selected.
        gmacs: multiply-adds of both networks, in 10^9.
        seconds: time from opening the file to the answer.
        decoding_seconds: the part of ``seconds`` that went into indexing and decoding.
        windows: the answers for its windows, if any were asked for; ``label`` is then that of their mean.
        error: why there is no answer; None if there is one.
    """

    video: str
    label: str | None = None
    score: float | None = None
    top5: tuple[tuple[str, float], ...] = ()
    duration_seconds: float = 0.0
    clips: tuple[Clip, ...] = ()
    gmacs: float = 0.0
    seconds: float = 0.0
    decoding_seconds: float = 0.0
    windows: tuple[WindowAnswer, ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values: ``top5`` as a list of ``{label, score}``, ``windows`` if any.

        The figures of a video that cannot be read are None.
        """
        content = asdict(self)
        content["top5"] = [{"label": label, "score": score} for label, score in self.top5]
        content |= {name: list(content[name]) for name in ("clips", "windows")}
        if self.error is not None:
            content |= dict.fromkeys(_FIGURES)
        if not self.windows:
            del content["windows"]
        return content

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the answer, the best classes, and the policy over the candidates."""
        if self.error is not None:
            return f"<p><b>{escape(self.video)}</b>: {escape(self.error)}</p>"
        classes = "".join(f"<tr><td>{escape(label)}</td><td>{_bar(score)}</td></tr>" for label, score in self.top5)
        clips = "".join(
            f"<tr><td>{clip.start_seconds:.1f} s</td><td>{_bar(clip.probability, chosen=clip.selected)}</td>"
            f"<td>{'' if clip.label is None else escape(clip.label)}</td></tr>"
            for clip in self.clips
        )
        cost = f"{self.gmacs:.4g} GMACs, {self.seconds:.2f} s"
        return (
            f"<p><b>{escape(str(self.label))}</b> {self.score:.1%} - {escape(self.video)} - {cost}</p>"
            f"<table>{classes}</table><table>{clips}</table>"
        )

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Prediction":
        """Return the object that `to_json` described; KeyError or TypeError if it is another."""
        if not isinstance(content, dict):
            raise TypeError(f"expected an object, got a {type(content).__name__}")
        best_classes = [_checked(_Class(**entry)) for entry in content["top5"]]
        known = {name: value for name, value in content.items() if value is not None}
        known |= {
            "top5": tuple((entry.label, entry.score) for entry in best_classes),
            "clips": tuple(_checked(Clip(**clip)) for clip in content["clips"]),
            "windows": tuple(_checked(WindowAnswer(**window)) for window in content.get("windows", ())),
        }
        answer = _checked(cls(**known))
        if answer.error is None and (answer.label is None or answer.score is None):
            raise TypeError("neither a label with a score nor an error")
        return answer


@dataclass(frozen=True)
class _Class:
    """A class with its probability, as `Prediction.to_json` describes it."""

    label: str
    score: float


def _checked(found: _Object) -> _Object:
    """Return an object; TypeError if a value has a wrong type, is not finite, or is a share outside [0, 1]."""
    for one in fields(found):  # type: ignore[arg-type]
        value = getattr(found, one.name)
        kinds = get_args(one.type) if isinstance(one.type, UnionType) else (get_origin(one.type) or one.type,)
        is_right = any(_is_a(value, kind) for kind in kinds)
        if not is_right or (one.name in _SHARES and value is not None and not 0 <= value <= 1 + _ROUNDING):
            raise TypeError(f"{one.name}={str(value)[:40]}")
    return found


def _is_a(value: object, kind: object) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value is None if kind is type(None) else type(value) is kind


def _bar(share: float, *, chosen: bool = False) -> str:
    color = "#1f77b4" if chosen else "#bbb"
    bar = f"display:inline-block;height:0.7em;width:{8 * share:.2f}em;background:{color}"
    return f'<span style="{bar}"></span> {share:.1%}'


def best(scores: Scores, classes: Sequence[str], count: int = 5) -> tuple[tuple[str, float], ...]:
    """Return the most probable classes with their probabilities, the most probable first.

    >>> best(np.array([0.2, 0.7, 0.1]), ["walk", "run", "jump"], 2)
    (('run', 0.7), ('walk', 0.2))
    """
    order = np.argsort(-scores, kind="stable")[:count]
    return tuple((classes[i], float(scores[i])) for i in order)
