"""The cost columns of the paper's Tables III and IV: ours beside the paper's."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dsn_lightning.commands.compose import compose_anew
from dsn_lightning.commands.networks import count_classifier, count_observation
from dsn_lightning.cost.macs import VideoCost
from dsn_lightning.errors import UsageError
from dsn_lightning.paper import paper_table

OBSERVATION = "r2d_18"
NUM_CLASSES = {3: 51, 4: 101}  # HMDB51, THUMOS14


@dataclass(frozen=True)
class PaperRow:
    """How a row of the paper is composed: ``N`` candidates in each of ``clips`` sections, or no sampler."""

    backbone: str
    clips: int
    N: int | None = None


ROWS = {  # test schemes of Sec. V-C and DESIGN.md; rows in the paper's order
    3: {
        "R3D": PaperRow("r3d_18", 10),
        "R3D & DSN (M = 1)": PaperRow("r3d_18", 4, 3),
        "R3D & DSN (M = 3)": PaperRow("r3d_18", 3, 3),
        "R(2+1)D": PaperRow("r2plus1d_34", 10),
        "R(2+1)D & DSN (M = 1)": PaperRow("r2plus1d_34", 4, 3),
    },
    4: {
        "R3D & TSN (S = 3)": PaperRow("r3d_18", 20),
        "R3D & DSN (M = 3)": PaperRow("r3d_18", 6, 3),
        "R(2+1)D": PaperRow("r2plus1d_34", 20),
        "R(2+1)D & DSN (M = 1)": PaperRow("r2plus1d_34", 6, 3),
    },
}


@dataclass(frozen=True)
class TableRow:
    """A row of Table III or IV.

    Attributes:
        row: as the paper names it (its M is that of the training).
        backbone: configuration of the classifier.
        observation: configuration of the observation network; None without one.
        clips: clips that are classified; M in testing where there is a sampler.
        N: candidate clips of a section in testing; None without a sampler.
        gmacs_classifier: 10^9 multiply-adds of a video.
        gmacs_observation: likewise.
        gmacs: both.
        paper_gmacs: the paper's.
        ratio: ours / the paper's.
        paper_sampler_gmacs: what the paper's rows imply for one clip in the sampler: this row less so many of its own
            classifier's clips, shared out among the M * N candidates; None without a sampler.
        sampler_gmacs: what ours takes for one clip.
    """

    row: str
    backbone: str
    observation: str | None
    clips: int
    N: int | None
    gmacs_classifier: float
    gmacs_observation: float
    gmacs: float
    paper_gmacs: float
    ratio: float
    paper_sampler_gmacs: float | None
    sampler_gmacs: float | None


def cost_table(number: int) -> list[TableRow]:
    """Return the rows of Table III or IV, counted anew.

    Raises:
        UsageError: there is no such table.
    """
    if number not in ROWS:
        raise UsageError(f"table={number}: the paper's tables of costs are {' and '.join(map(str, ROWS))}")
    paper = paper_table(number)
    counts, rows = {}, []
    plain: dict[str, float] = {}  # backbone -> what the paper's row without a sampler gives for a clip
    for name, own in ROWS[number].items():
        key = (own.backbone, own.N)
        if key not in counts:
            cfg = compose_anew("cost", f"backbone={own.backbone}", f"observation={OBSERVATION}")
            cfg.num_classes = NUM_CLASSES[number]
            counts[key] = count_classifier(cfg), None if own.N is None else count_observation(cfg, own.N)
        classifier, sampler = counts[key]
        candidates = own.clips * (own.N or 0)
        cost = VideoCost.of(
            clips=own.clips, classifier=classifier.macs,
            candidates=candidates, observation=sampler.macs if sampler else 0.0,
        )  # fmt: skip
        theirs = paper[name]["gmacs"]
        if sampler is None:
            plain[own.backbone] = theirs / paper[name]["clips"]
        rows.append(TableRow(
            row=name, backbone=own.backbone, observation=sampler.name if sampler else None, clips=own.clips, N=own.N,
            gmacs_classifier=cost.classifier, gmacs_observation=cost.observation, gmacs=cost.total,
            paper_gmacs=theirs, ratio=cost.total / theirs,
            paper_sampler_gmacs=(theirs - own.clips * plain[own.backbone]) / candidates if candidates else None,
            sampler_gmacs=sampler.macs / 1e9 if sampler else None,
        ))  # fmt: skip
    return rows


def as_json(rows: list[TableRow]) -> list[dict[str, Any]]:
    """Return plain dicts in the paper's order."""
    return [asdict(row) for row in rows]


def print_table(number: int, rows: list[TableRow], console: Console) -> None:
    """Print the table, and how the paper's figures are made up."""
    table = Table(title=f"Table {'I' * number if number < 4 else 'IV'}: GMACs of a video")
    for column in ("", "clips", "M:N", "classifier", "sampler", "ours", "paper", "ours / paper"):
        table.add_column(column, justify="left" if column == "" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(row.row), str(row.clips), f"{row.clips}:{row.N}" if row.N else "-", f"{row.gmacs_classifier:.1f}",
            f"{row.gmacs_observation:.1f}" if row.N else "-", f"{row.gmacs:.1f}", f"{row.paper_gmacs:.1f}",
            f"{row.ratio:.4f}",
        )  # fmt: skip
    console.print(table)
    lines = [
        "The paper's FLOPs are multiply-adds (MACs): two floating-point operations each. M of a row's name is that of "
        "the training; M:N is what was tested, M * classifier + M * N * observation.",
        "What the paper's rows with DSN leave for one clip in the sampler, (row - M * classifier) / (M * N), with the "
        "classifier of its row without DSN:",
    ]
    for row in rows:
        if row.paper_sampler_gmacs is not None and row.N is not None:
            clip = (row.paper_gmacs - row.paper_sampler_gmacs * row.clips * row.N) / row.clips
            lines.append(
                f"  {row.row}: ({row.paper_gmacs:.1f} - {row.clips} * {clip:.2f}) / {row.clips * row.N} = "
                f"{row.paper_sampler_gmacs:.3f} G; ours {row.sampler_gmacs:.3f}"
            )
    lines.append(
        "One sampler, ResNet2D-18 on 8 frames stacked as channels, explains the rows of R3D; those of R(2+1)D imply a "
        "smaller one, which the paper does not describe. Ours is the same in all rows."
    )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
