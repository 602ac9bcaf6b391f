"""The page that shows all answers of dsn-predict, as one file that loads nothing else."""

import base64
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from PIL import Image

from dsn_lightning.errors import printable
from dsn_lightning.files import UnreadableFileError, read_bounded, write_atomically
from dsn_lightning.prediction.answer import Prediction
from dsn_lightning.prediction.output_folder import OVERLAYS, PICTURES, THUMBNAILS, TIME_LINES, OutputFolder
from dsn_lightning.report.html_page import render_html

MOST_ROWS = 5000
"""Answers that the page shows at most."""

LIMIT = 20_000_000
"""The most bytes that all thumbnails take in the page; larger ones are made smaller."""

_LARGEST_FILE = 2**20  # bytes; a thumbnail has about 5,000
_SMALLER = ((160, 40), (128, 40), (96, 35), (64, 30), (48, 20))  # (side in pixels, JPEG quality)
_FAILED = "-"  # the group of videos that could not be read; those with an answer have the number of their label


@dataclass(frozen=True)
class AnswerRow:
    """A video on the page."""

    name: str  #: of the file
    folder: str  #: where it lies, as it was given
    group: str  #: what the page filters by
    answer: Prediction
    picture: str = ""  #: address of its picture; empty where there is none
    thumbnail: str = ""  #: a data URI; empty where there is none
    links: Sequence[tuple[str, str]] = field(default=())  #: (text, address) of what else was made of it

    @property
    def next_best(self) -> str:
        """The second and the third class, with their probabilities."""
        return ", ".join(f"{printable(label)} {score:.1%}" for label, score in self.answer.top5[1:3])

    @property
    def parts(self) -> str:
        """Where the clips begin that the classifier saw, in seconds; for windows, their number."""
        windows = len(self.answer.windows)
        starts = [f"{clip.start_seconds:.1f}" for clip in self.answer.clips if clip.selected]
        return f"{windows} window{'s' * (windows != 1)}" if windows else ", ".join(starts)


def write_answers_page(output: OutputFolder) -> None:
    """Write the page of all answers in a folder, with what was drawn of them so far."""
    count = sum(1 for _ in output.answers())
    labels: dict[str, str] = {}
    rows = list(_rows(output, labels, most_bytes=LIMIT * 3 // 4 // max(1, min(count, MOST_ROWS))))
    videos = Counter(row.group for row in rows)
    groups = [(group, f"{label} ({videos[group]})") for label, group in sorted(labels.items())]
    if videos[_FAILED]:
        groups.append((_FAILED, f"cannot be read ({videos[_FAILED]})"))
    page = render_html(
        "answers.html",
        styles=["page.css", "answers.css"],
        script="page.js",
        rows=rows,
        groups=groups,
        count=count,
        failed=videos[_FAILED],
        lines=output.lines.name,
    )
    write_atomically(output.page, printable(page))


def _rows(output: OutputFolder, labels: dict[str, str], *, most_bytes: int) -> Iterator[AnswerRow]:
    """Yield a row for each answer, and give each label a group in ``labels``."""
    for number, answer in enumerate(output.answers(), start=1):
        if number > MOST_ROWS:
            return
        group = _FAILED
        if answer.error is None:
            group = labels.setdefault(printable(str(answer.label)), str(len(labels)))

        def address(kind: str, extension: str, number: int = number, video: str = answer.video) -> str:
            path = output.drawing(kind, number, video, extension)
            return quote(f"{kind}/{path.name}") if path.is_file() else ""

        picture = address(PICTURES, ".png")
        links = [
            ("picture", picture),
            ("overlay", address(OVERLAYS, ".mp4")),
            ("time line", address(TIME_LINES, ".csv")),
            ("subtitles", address(TIME_LINES, ".vtt")),
        ]
        thumbnail = output.drawing(THUMBNAILS, number, answer.video, ".jpg")
        video = printable(answer.video)
        yield AnswerRow(
            PurePosixPath(video).name,
            str(Path(video).parent),
            group,
            answer,
            picture,
            _data_uri(thumbnail, most_bytes),
            [(text, link) for text, link in links if link],
        )


def _data_uri(path: Path, most_bytes: int) -> str:
    """Return a JPEG as a data URI, made smaller where it is larger than ``most_bytes``; empty if there is none."""
    try:
        content = read_bounded(path, _LARGEST_FILE)
        for side, quality in _SMALLER:
            if len(content) <= most_bytes:
                break
            content = _smaller(content, side, quality)
    except (OSError, UnreadableFileError, ValueError):  # it may have been damaged, or removed
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def _smaller(content: bytes, side: int, quality: int) -> bytes:
    image = Image.open(io.BytesIO(content), formats=("JPEG",))
    image.thumbnail((side, side))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()
