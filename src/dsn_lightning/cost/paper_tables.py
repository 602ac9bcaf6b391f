"""The cost columns of the paper's Tables III and IV beside counted multiply-adds."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console

from dsn_lightning.cost.macs import VideoCost
from dsn_lightning.errors import UsageError
from dsn_lightning.paper import paper_table
from dsn_lightning.text_tables import TextTable

OBSERVATION = "r2d_18"
"""The paper's observation network: a name in ``conf/observation``."""

NUM_CLASSES = {3: 51, 4: 101}
"""Number of the table -> classes of its data set (HMDB51, THUMOS14)."""


@dataclass(frozen=True)
class PaperRow:
    """The networks and the test scheme of a row."""

    backbone: str  #: the classifier's network, a name in ``conf/backbone``
    clips: int  #: clips that are classified; M where there is a sampler
    N: int | None = None  #: candidate clips per section; None without a sampler


ROWS = {  # test schemes of Sec. V-C; rows in the paper's order
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
"""Number of the table -> name of the row (its M is that of the training) -> networks and test scheme."""


@dataclass(frozen=True)
class TableRow:
    """A row of Table III or IV."""

    row: str  #: name in the paper; its M is that of the training
    backbone: str  #: configuration of the classifier
    observation: str | None  #: configuration of the observation network; None without one
    clips: int  #: clips that are classified; M in testing where there is a sampler
    N: int | None  #: candidate clips per section in testing; None without a sampler
    gmacs_classifier: float  #: 10^9 multiply-adds of a video in the classifier
    gmacs_observation: float  #: likewise in the observation network
    gmacs: float  #: sum of both
    paper_gmacs: float  #: the paper's figure
    ratio: float  #: gmacs / paper_gmacs
    #: what the paper's figures imply for a clip in the sampler: (row - cost of its classified clips) / (M * N), or None
    paper_sampler_gmacs: float | None
    sampler_gmacs: float | None  #: the counted cost of one clip in the sampler; None without one


def rows_of(number: int) -> dict[str, PaperRow]:
    """Return the networks and test schemes of the rows of Table III or IV.

    Raises:
        UsageError: the table has no costs.
    """
    if number not in ROWS:
        raise UsageError(f"table={number}: must be {' or '.join(map(str, ROWS))}, the paper's tables of costs")
    return ROWS[number]


def cost_table(
    number: int, *, classifiers: Mapping[str, float], samplers: Mapping[tuple[str, int], float]
) -> list[TableRow]:
    """Return the rows of Table III or IV, in the paper's order, from the counted multiply-adds of a clip.

    ``classifiers`` has those of each backbone, ``samplers`` those of each backbone (whose clips it sees) and N.
    """
    paper = paper_table(number)
    per_clip = {  # backbone -> GMACs of a clip, from the paper's row without a sampler
        row.backbone: paper[name]["gmacs"] / row.clips for name, row in rows_of(number).items() if row.N is None
    }
    table = []
    for name, row in rows_of(number).items():
        sampler = None if row.N is None else samplers[row.backbone, row.N]
        candidates = row.clips * (row.N or 0)
        cost = VideoCost.of(
            clips=row.clips, classifier=classifiers[row.backbone], candidates=candidates, observation=sampler or 0.0
        )
        theirs = paper[name]["gmacs"]
        table.append(
            TableRow(
                row=name,
                backbone=row.backbone,
                observation=None if sampler is None else OBSERVATION,
                clips=row.clips,
                N=row.N,
                gmacs_classifier=cost.classifier,
                gmacs_observation=cost.observation,
                gmacs=cost.total,
                paper_gmacs=theirs,
                ratio=cost.total / theirs,
                paper_sampler_gmacs=(theirs - row.clips * per_clip[row.backbone]) / candidates if candidates else None,
                sampler_gmacs=None if sampler is None else sampler / 1e9,
            )
        )
    return table


def print_table(number: int, rows: list[TableRow], console: Console) -> None:
    """Print a table, and what the paper's figures imply for the sampler."""
    title = f"Table {'III' if number == 3 else 'IV'}: GMACs of a video"
    header = ["", "clips", "M:N", "classifier", "sampler", "ours", "paper", "ours / paper"]
    TextTable(header, [_cells(row) for row in rows], title=title).print(console)
    lines = [
        "The paper's FLOPs are multiply-adds (MACs): two floating-point operations each. The M in a row's name is that "
        "of the training. M:N is the test scheme, which costs M * classifier + M * N * observation.",
        "Cost of one clip in the sampler that the paper's figures imply, as (row - M * classifier) / (M * N), with the "
        "classifier of the row without DSN:",
        *(_implied(row) for row in rows if row.N is not None),
        "One sampler, ResNet2D-18 on 8 frames stacked as channels, explains the rows of R3D. Those of R(2+1)D imply a "
        "smaller one, which the paper does not describe. Ours is the same in all rows.",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _cells(row: TableRow) -> list[str]:
    scheme, sampler = (f"{row.clips}:{row.N}", f"{row.gmacs_observation:.1f}") if row.N else ("-", "-")
    ours = [f"{row.gmacs_classifier:.1f}", sampler, f"{row.gmacs:.1f}"]
    return [row.row, str(row.clips), scheme, *ours, f"{row.paper_gmacs:.1f}", f"{row.ratio:.4f}"]


def _implied(row: TableRow) -> str:
    assert row.N is not None
    assert row.paper_sampler_gmacs is not None
    candidates = row.clips * row.N
    clip = (row.paper_gmacs - row.paper_sampler_gmacs * candidates) / row.clips
    return (
        f"  {row.row}: ({row.paper_gmacs:.1f} - {row.clips} * {clip:.2f}) / {candidates} = "
        f"{row.paper_sampler_gmacs:.3f} G; ours {row.sampler_gmacs:.3f}"
    )
