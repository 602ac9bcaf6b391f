"""Contact sheets of selected clips, and over each of their videos the policy as a time line (Fig. 5)."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.report.chart import nice_ticks
from dsn_lightning.report.collect import Source
from dsn_lightning.selection import softmax
from dsn_lightning.visualize import sheet_videos

LIMIT = 20_000_000
"""Bytes that all pictures may have in the page; they are scaled down to fit."""

_WIDTHS = (1400, 1100, 800, 560, 400)  # pixels; a sheet of evaluation is 1540 wide
_HEIGHT, _FOOT, _WIDTH = 46, 18, 420


@dataclass(frozen=True)
class Timeline:
    """A video's policy over time."""

    video: str
    classes: str
    text: str
    svg: Markup


@dataclass(frozen=True)
class Sheet:
    """A sampler's clips in one evaluation.

    Attributes:
        source: name of the evaluation.
        sampler: ``dsn`` or ``dsn_fixed``; empty where there is none.
        picture: content of the contact sheet, if it was made.
        kind: of the picture, as in ``image/png``.
        alt: what the picture shows.
        timelines: of the same videos, from the top of the picture down.
        notes: what is lacking and how to make it.
    """

    source: str
    sampler: str
    picture: bytes = b""
    kind: str = "image/png"
    alt: str = ""
    timelines: Sequence[Timeline] = ()
    notes: Sequence[str] = field(default=())

    def uri(self) -> str:
        """Return the picture as a data URI."""
        return f"data:{self.kind};base64,{base64.b64encode(self.picture).decode()}"


def sheets_of(source: Source) -> list[Sheet]:
    """Return the contact sheets and the time lines of an evaluation, a sheet a sampler.

    Time lines are those of the scheme that the sheet was made of: the first M:N of the results.
    """
    pictures = {
        path.stem.removeprefix("clips_"): path for path in sorted((source.folder / "figures").glob("clips_*.png"))
    }
    timelines: dict[str, list[Timeline]] = {}
    notes = []
    stored = source.folder / "clip_scores.npz"
    if stored.is_file():
        try:
            timelines = _timelines(ClipScores.load(stored), source.rows[0].get("M"), source.rows[0].get("N"))
        except Exception as error:  # a damaged archive fails in whatever way its bytes happen to be damaged
            notes.append(f"clip_scores.npz cannot be read ({type(error).__name__}: {error}): no time line")
    else:
        notes.append("no clip_scores.npz: no time line; dsn-evaluate writes it")
    samplers = list(dict.fromkeys([*pictures, *timelines]))
    if not samplers and stored.is_file() and not notes:
        return [Sheet(source.name, "", notes=["no sampler was evaluated: there is no policy to show"])]
    if not samplers:
        return [Sheet(source.name, "", notes=[*notes, "no contact sheet: dsn-evaluate checkpoint=... makes figures/"])]
    return [_sheet(source, sampler, pictures.get(sampler), timelines.get(sampler, []), notes) for sampler in samplers]


def _sheet(source: Source, sampler: str, path: Path | None, lines: Sequence[Timeline], notes: Sequence[str]) -> Sheet:
    lacking = []
    picture = b""
    if path is None:
        lacking.append(
            "no contact sheet of this sampler: dsn-evaluate draws that of the one it is given as checkpoint=, from the videos"
        )
    else:
        try:
            picture = path.read_bytes()
            Image.open(io.BytesIO(picture)).verify()
        except (OSError, SyntaxError) as error:
            picture = b""
            lacking.append(f"figures/{path.name} cannot be read ({error}); repeat dsn-evaluate")
    alt = f"{sampler}: frames of the two most probable and the two least probable clips of each video"
    if lines:
        alt += f"; from the top down: {', '.join(f'{line.video} ({line.classes})' for line in lines)}"
    return Sheet(source.name, sampler, picture, alt=alt, timelines=lines, notes=[*notes, *lacking])


def scaled_to_fit(sheets: Sequence[Sheet], limit: int = LIMIT) -> tuple[list[Sheet], str]:
    """Return the sheets with pictures that together have at most ``limit`` bytes in the page, and what was done."""
    total = _size(sheets)
    if total <= limit:
        return list(sheets), ""
    smaller: list[Sheet] = list(sheets)
    for width in _WIDTHS:
        smaller = [_scaled(sheet, width) for sheet in sheets]
        if _size(smaller) <= limit:
            return smaller, f"Pictures of {total / 1e6:.0f} MB were scaled down to {width} pixels' width (JPEG)."
    kept: list[Sheet] = []
    for sheet in smaller:
        fits = _size([*kept, sheet]) <= limit
        note = "contact sheet left out for the page's size; it is in the evaluation's figures/"
        kept.append(sheet if fits else replace(sheet, picture=b"", notes=[*sheet.notes, note]))
    return kept, (
        f"Pictures of {total / 1e6:.0f} MB were scaled down to {_WIDTHS[-1]} pixels' width (JPEG), and "
        f"{sum(bool(a.picture) and not b.picture for a, b in zip(sheets, kept, strict=True))} left out."
    )


def _size(sheets: Sequence[Sheet]) -> int:
    return sum(4 * -(-len(sheet.picture) // 3) for sheet in sheets)  # base64


def _scaled(sheet: Sheet, width: int) -> Sheet:
    if not sheet.picture:
        return sheet
    image = Image.open(io.BytesIO(sheet.picture)).convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return replace(sheet, picture=out.getvalue(), kind="image/jpeg")


def _timelines(scores: ClipScores, num_sections: object, clips_per_section: object) -> dict[str, list[Timeline]]:
    """Return each sampler's time lines of the videos on the contact sheets."""
    found: dict[str, list[Timeline]] = {}
    for sampler in dict.fromkeys(map(str, scores.section_network)):
        own = scores.section_network == sampler
        schemes = [tuple(int(v) for v in scheme) for scheme in np.unique(scores.section_scheme[own][:, :2], axis=0)]
        if not schemes:
            continue
        wanted = (num_sections, clips_per_section)
        m, n = wanted if wanted in schemes else schemes[0]  # type: ignore[misc]
        for v in sheet_videos(len(scores.video_id)):
            policy = np.full((m, n), np.nan)
            rows = own & (scores.section_video == v) & (scores.section_scheme[:, :2] == (m, n)).all(1)
            policy[scores.section_scheme[rows][:, 2]] = softmax(scores.section_logits[rows][:, :n])
            found.setdefault(sampler, []).append(_timeline(scores, int(v), policy))
    return found


def _timeline(scores: ClipScores, v: int, policy: np.ndarray) -> Timeline:
    """Draw a video's policy (M, N) over its seconds: a bar for each candidate, those kept filled."""
    m, n = policy.shape
    fps = float(scores.fps[v])
    duration = float(scores.num_frames[v]) / fps
    starts = scores.scheme(m, n).grid(int(scores.num_frames[v])) / fps  # seconds
    spans = scores.span_seconds[scores.span_video == v]
    kept = np.nanargmax(policy, axis=1)
    names = ", ".join(str(name) for name in scores.classes[scores.targets[v] > 0]) or "background"
    video = str(scores.video_id[v])
    told = ", ".join(f"{starts[i, k]:.1f} s (p = {policy[i, k]:.3f})" for i, k in enumerate(kept))
    action = ", ".join(f"{a:.1f} to {b:.1f} s" for a, b in spans)
    text = f"kept: {told}" + (f"; action: {action}" if action else "")
    scale = _WIDTH / duration
    parts = [
        Markup('<svg class="timeline" viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>').format(
            _WIDTH, _HEIGHT + _FOOT, f"{video}: {text}", video
        )
    ]
    parts += [
        Markup('<rect class="action" x="{:.1f}" y="0" width="{:.1f}" height="{}"><title>{}</title></rect>').format(
            a * scale, (min(b, duration) - a) * scale, _HEIGHT, f"action: {a:.1f} to {b:.1f} s"
        )
        for a, b in spans
    ]
    width = _WIDTH / (m * n)
    for i in range(m):
        for k in range(n):
            p = float(policy[i, k])
            parts.append(
                Markup(
                    '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
                ).format(
                    "kept" if k == kept[i] else "other",
                    (i * n + k + 0.08) * width,
                    _HEIGHT * (1 - p),
                    0.84 * width,
                    max(_HEIGHT * p, 0.6),
                    f"clip at {starts[i, k]:.1f} s, p = {p:.3f}",
                )  # fmt: skip
            )
        if i:
            parts.append(Markup('<path class="section" d="M{:.1f} 0V{}"/>').format(i * n * width, _HEIGHT))
    parts.append(Markup('<path class="chance" d="M0 {:.1f}H{}"/>').format(_HEIGHT * (1 - 1 / n), _WIDTH))
    parts.append(Markup('<path class="axis" d="M0 {}H{}"/>').format(_HEIGHT, _WIDTH))
    for tick in nice_ticks(0, duration):
        if tick <= duration:
            anchor = "start" if tick == 0 else "end" if tick * scale > _WIDTH - 20 else "middle"
            parts.append(
                Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{:g} s</text>').format(
                    tick * scale, _HEIGHT + 14, anchor, tick
                )
            )
    return Timeline(video, names, text, Markup("").join([*parts, Markup("</svg>")]))
