"""A video's policy over time, drawn as SVG (Fig. 5)."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from dsn_lightning.evaluation.answers import sheet_videos
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.selections.policy import keeps_something
from dsn_lightning.selections.scheme import softmax

_HEIGHT, _FOOT, _WIDTH = 46, 18, 420  # units of the drawing; the foot holds the seconds


@dataclass(frozen=True)
class Timeline:
    """A video's policy over time."""

    video: str  #: its id
    classes: str  #: names of its labels
    text: str  #: kept clips and annotated action in words
    svg: Markup  #: the drawing


def timelines_of(scores: ClipScores, num_sections: object, clips_per_section: object) -> dict[str, list[Timeline]]:
    """Return the time lines of the videos on contact sheets, by sampler.

    A sampler that was not evaluated at M = ``num_sections``, N = ``clips_per_section`` is drawn at its smallest M:N.
    """
    found: dict[str, list[Timeline]] = {}
    for sampler in dict.fromkeys(map(str, scores.section_network)):
        of_sampler = scores.section_network == sampler
        schemes = [(int(m), int(n)) for m, n in np.unique(scores.section_scheme[of_sampler][:, :2], axis=0)]
        m, n = next((scheme for scheme in schemes if scheme == (num_sections, clips_per_section)), schemes[0])
        of_scheme = of_sampler & (scores.section_scheme[:, :2] == (m, n)).all(1)
        for v in sheet_videos(len(scores.video_id)):
            rows = of_scheme & (scores.section_video == v)
            sections, logits = scores.section_scheme[rows][:, 2], scores.section_logits[rows][:, :n]
            nothing = scores.section_nothing[rows][:, None]
            arms = np.column_stack([logits, np.where(np.isnan(nothing), -np.inf, nothing)])
            policy, kept = np.zeros((m, n)), np.full(m, -1)
            policy[sections] = softmax(arms)[:, :n]
            kept[sections] = np.where(keeps_something(logits, arms[:, n]), logits.argmax(1), -1)
            found.setdefault(sampler, []).append(_timeline(scores, int(v), policy, kept))
    return found


def _timeline(scores: ClipScores, v: int, policy: NDArray[np.float64], kept: NDArray[np.int64]) -> Timeline:
    """Draw a video's policy (M, N) over its seconds; ``kept`` has the clip of each section, (M,), -1 for none."""
    fps = float(scores.fps[v])
    duration = float(scores.num_frames[v]) / fps
    seconds = scores.scheme(*policy.shape).grid(int(scores.num_frames[v])) / fps  # (M, N), each clip's first frame
    spans = [(float(a), min(float(b), duration)) for a, b in scores.span_seconds[scores.span_video == v]]
    clips = ", ".join(f"{seconds[m, n]:.1f} s ({policy[m, n]:.1%})" for m, n in enumerate(kept) if n >= 0)
    action = ", ".join(f"{a:.1f} to {b:.1f} s" for a, b in spans)
    text = f"kept: {clips}" + (f"; action: {action}" if action else "")
    video = str(scores.video_id[v])
    head = Markup('<svg class="timeline" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        _WIDTH, _HEIGHT + _FOOT, f"{video}: {text}"
    )
    parts = [head, *_spans(spans, duration), *_bars(policy, kept, seconds), *_seconds(duration), Markup("</svg>")]
    names = [str(name) for name in scores.classes[scores.targets[v] > 0]]
    return Timeline(video, ", ".join(names) or "background", text, Markup("").join(parts))


def _spans(spans: list[tuple[float, float]], duration: float) -> list[Markup]:
    bar = Markup('<rect class="action" x="{:.1f}" y="0" width="{:.1f}" height="{}"><title>{}</title></rect>')
    scale = _WIDTH / duration
    texts = [(a, b, f"action: {a:.1f} to {b:.1f} s") for a, b in spans if b > a]
    return [bar.format(a * scale, (b - a) * scale, _HEIGHT, text) for a, b, text in texts]


def _bars(policy: NDArray[np.float64], kept: NDArray[np.int64], seconds: NDArray[np.float64]) -> list[Markup]:
    """Draw a bar for each candidate, as high as its probability, in its share of the section."""
    bar = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>')
    num_sections, num_clips = policy.shape
    width = _WIDTH / policy.size
    parts = []
    for m, n in np.ndindex(policy.shape):
        height = max(_HEIGHT * float(policy[m, n]), 0.6)  # so that tiny probabilities stay visible
        kind = "kept" if n == kept[m] else "other"
        title = f"clip at {seconds[m, n]:.1f} s, probability {policy[m, n]:.1%}"
        left = (m * num_clips + n + 0.08) * width
        parts.append(bar.format(kind, left, _HEIGHT - height, 0.84 * width, height, title))
    borders = Markup('<path class="section" d="M{:.1f} 0V{}"/>')
    parts += [borders.format(m * num_clips * width, _HEIGHT) for m in range(1, num_sections)]
    parts.append(Markup('<path class="chance" d="M0 {:.1f}H{}"/>').format(_HEIGHT * (1 - 1 / num_clips), _WIDTH))
    return parts


def _seconds(duration: float) -> list[Markup]:
    parts = [Markup('<path class="axis" d="M0 {}H{}"/>').format(_HEIGHT, _WIDTH)]
    text = Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{:g} s</text>')
    for tick in MaxNLocator(nbins=6, steps=[1, 2, 5, 10]).tick_values(0, duration):
        at = tick * _WIDTH / duration
        if at <= _WIDTH:
            anchor = "start" if tick == 0 else "end" if at > _WIDTH - 20 else "middle"
            parts.append(text.format(at, _HEIGHT + 14, anchor, tick))
    return parts
