"""Contact sheets of selected clips, with the policy over time of each of their videos (Fig. 5)."""

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.scores_file import NOT_OF_RESULTS, belongs_to_results
from dsn_lightning.files import UnreadableFileError, leads_out, read_bounded
from dsn_lightning.report.collect import Source
from dsn_lightning.report.timeline import Timeline, timelines_of
from dsn_lightning.runs import RunFolder

LIMIT = 20_000_000
"""The most bytes that all pictures take in the page; they are scaled down to fit."""

_MAX_PIXELS, _MAX_BYTES = 50_000_000, 2**26  # of a picture; a sheet of dsn-evaluate has 2 million
_WIDTHS = (1400, 1100, 800, 560, 400)  # pixels; a sheet of dsn-evaluate is 1540 wide


@dataclass(frozen=True)
class Sheet:
    """A sampler's clips in one evaluation."""

    source: str  #: name of the evaluation
    sampler: str  #: its name; empty where no sampler was evaluated
    picture: bytes = b""  #: content of the contact sheet, of media type ``kind``; empty where there is none
    kind: str = "image/png"
    alt: str = ""  #: what the picture shows
    timelines: Sequence[Timeline] = ()  #: one per video of the picture, from top to bottom
    notes: Sequence[str] = field(default=())  #: what is missing and how to make it

    def uri(self) -> str:
        """Return the picture as a data URI."""
        return f"data:{self.kind};base64,{base64.b64encode(self.picture).decode()}"


def sheets_of(source: Source) -> list[Sheet]:
    """Return the contact sheets and the time lines of an evaluation, one sheet for each sampler.

    Time lines show the scheme that the contact sheet shows: the first M:N of the results.
    """
    run = RunFolder(source.folder)
    timelines: dict[str, list[Timeline]] = {}
    notes = [f"{run.figures.name}: not read: a link out of the given folders"] if leads_out(run.figures) else []
    files = [] if notes else sorted(run.figures.glob("clips_*.png"))
    pictures = {path.stem.removeprefix("clips_"): path for path in files}
    stored = run.clip_scores
    if stored.is_file():
        try:
            scores = ClipScores.load(stored)
            if not belongs_to_results(source.folder):
                raise UnreadableFileError(stored, NOT_OF_RESULTS)
            timelines = timelines_of(scores, source.rows[0].get("M"), source.rows[0].get("N"))
        except Exception as error:  # of a file that may hold anything
            reason = error.reason if isinstance(error, UnreadableFileError) else f"{type(error).__name__}: {error}"
            notes.append(f"no time line: cannot read {stored.name} ({reason})")
    else:
        notes.append(f"no time line: {stored.name} is missing; dsn-evaluate writes it")
    samplers = list(dict.fromkeys([*pictures, *timelines]))
    if not samplers:
        missing = "no contact sheet: dsn-evaluate checkpoint=... draws figures/"
        return [
            Sheet(
                source.name, "", notes=[*notes, missing] if notes else ["no policy to show: no sampler was evaluated"]
            )
        ]
    return [_sheet(source, sampler, pictures.get(sampler), timelines.get(sampler, []), notes) for sampler in samplers]


def _sheet(source: Source, sampler: str, path: Path | None, lines: Sequence[Timeline], notes: Sequence[str]) -> Sheet:
    missing, picture = [], b""
    if path is None:
        missing.append("no contact sheet for this sampler: dsn-evaluate draws one for the run given as checkpoint=")
    else:
        try:
            picture = read_bounded(path, _MAX_BYTES)
            _opened(picture).verify()
        except Exception as error:  # of a file that may hold anything
            picture = b""
            reason = error.reason if isinstance(error, UnreadableFileError) else error
            missing.append(f"cannot read figures/{path.name} ({reason}); run dsn-evaluate again")
    alt = f"{sampler}: frames of the two most probable and the two least probable clips of each video"
    if lines:
        alt += f"; from the top down: {', '.join(f'{line.video} ({line.classes})' for line in lines)}"
    return Sheet(source.name, sampler, picture, alt=alt, timelines=lines, notes=[*notes, *missing])


def _opened(picture: bytes) -> Image.Image:
    """Return a picture that is not decoded yet, after a look at its size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is lower
        image = Image.open(io.BytesIO(picture), formats=("PNG",))
    if image.width * image.height > _MAX_PIXELS:
        raise ValueError(f"{image.width}x{image.height} pixels")
    return image


def scaled_to_fit(sheets: Sequence[Sheet], limit: int = LIMIT) -> tuple[list[Sheet], str]:
    """Return the sheets with pictures of at most ``limit`` bytes in the page, and a note on what was changed."""
    total = _size(sheets)
    if total <= limit:
        return list(sheets), ""
    smaller: list[Sheet] = list(sheets)
    for width in _WIDTHS:
        smaller = [_scaled(sheet, width) for sheet in sheets]
        if _size(smaller) <= limit:
            return smaller, f"pictures of {total / 1e6:.0f} MB were scaled down to a width of {width} pixels (JPEG)"
    kept: list[Sheet] = []
    for sheet in smaller:
        fits = _size([*kept, sheet]) <= limit
        note = "contact sheet left out to limit the page's size; it is in the evaluation's figures/"
        kept.append(sheet if fits else replace(sheet, picture=b"", notes=[*sheet.notes, note]))
    return kept, (
        f"pictures of {total / 1e6:.0f} MB were scaled down to a width of {_WIDTHS[-1]} pixels (JPEG), and "
        f"{sum(bool(a.picture) and not b.picture for a, b in zip(sheets, kept, strict=True))} were left out"
    )


def _size(sheets: Sequence[Sheet]) -> int:
    return sum(4 * -(-len(sheet.picture) // 3) for sheet in sheets)  # base64


def _scaled(sheet: Sheet, width: int) -> Sheet:
    if not sheet.picture:
        return sheet
    try:
        image = _opened(sheet.picture).convert("RGB")
    except Exception as error:  # of a file that may hold anything
        return replace(sheet, picture=b"", notes=[*sheet.notes, f"the contact sheet cannot be decoded ({error})"])
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return replace(sheet, picture=out.getvalue(), kind="image/jpeg")
