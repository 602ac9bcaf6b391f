"""Draws accuracy against multiply-adds: the picture of an evaluation and the chart of the report."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from dsn_lightning.evaluation.chart_style import GROUND, INK, NEUTRAL, SOFT, label_axes, set_tooltip, use_log_scale
from dsn_lightning.selections import Kind

_COLOURS: Mapping[Kind, Sequence[int]] = {"reference": (7, 0, 2, 5), "learned": (4, 1, 3, 6), "upper_bound": (7,)}
_LEVEL_DASHES = ((0, (4, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)))
_MARKER_DISTANCES = (13, 20, 28, 38, 50, 64)  # points between a marker and its number, near ones first
_DIRECTIONS = (4, 3, 1, 0, 5, 7, 2, 6)  # eighths of a turn, left first: the front leaves a point to the right


@dataclass(frozen=True)
class FrontierPoint:
    """A method at its cost."""

    name: str  #: text of the tooltip and of the legend
    gmacs: float  #: 10^9 multiply-adds a video
    rate: float  #: accuracy or mAP in percent
    spread: float | None = None  #: standard deviation over seeds in percentage points; None with one seed
    colour: str = NEUTRAL  #: colour of the marker
    hollow: bool = False  #: whether the classifier was trained together with a sampler
    number: str = ""  #: drawn beside the marker; empty for none


def colours_of(kinds: Mapping[str, Kind]) -> dict[str, int]:
    """Return each method's place in the palette: by its kind, then by its order among methods of the kind.

    >>> colours_of({"uniform": "reference", "dsn": "learned", "dense": "reference"})
    {'uniform': 7, 'dsn': 4, 'dense': 0}
    """
    unused = {kind: itertools.cycle(colours) for kind, colours in _COLOURS.items()}
    return {name: next(unused[kind]) for name, kind in kinds.items()}


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the (cost, gain) points that no other point beats at the same cost or less, by cost.

    >>> pareto_front([(1, 0.5), (2, 0.4), (2, 0.7), (3, 0.7), (1, 0.2)])
    [0, 2]
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


def draw_frontier(
    axes: Axes, points: Sequence[FrontierPoint], *, metric: str, levels: Sequence[tuple[str, float]] = ()
) -> None:
    """Draw the points, their Pareto front and the levels of upper bounds; `number_points` adds the numbers.

    The horizontal axis is logarithmic where the costs differ by more than a factor of 20, and starts at 0 otherwise.
    The last point is on top. ``levels`` are (name, percent) of upper bounds, which have no cost.
    """
    label_axes(axes, "GMACs a video (classifier and sampler)", f"{metric} (%)")
    for i, (name, rate) in enumerate(levels):
        dashes = _LEVEL_DASHES[i % len(_LEVEL_DASHES)]
        set_tooltip(axes.axhline(rate, color=SOFT, lw=1.2, ls=dashes, label=name, zorder=1), name)
    places = [(point.gmacs, point.rate) for point in points]
    front = [places[i] for i in pareto_front(places)]
    if len(front) > 1:
        (line,) = axes.step(*zip(*front, strict=True), where="post", color=NEUTRAL, lw=1.8, zorder=2)
        set_tooltip(line, "Pareto front")
    for point in points:
        _draw_point(axes, point)
    costs = [point.gmacs for point in points]
    if costs and max(costs) > 20 * min(costs) > 0:
        use_log_scale(axes, min(costs), max(costs))
    elif costs:
        axes.set_xlim(0, 1.05 * max(costs) or 1)


def _draw_point(axes: Axes, point: FrontierPoint) -> None:
    bars = axes.errorbar(
        point.gmacs,
        point.rate,
        yerr=point.spread or None,
        color=point.colour,
        marker="o",
        markersize=8,
        markerfacecolor=GROUND if point.hollow else point.colour,
        markeredgewidth=2 if point.hollow else 1,
        elinewidth=1.4,
        capsize=4,
        linestyle="none",
        clip_on=False,
        label=f"{point.number}  {point.name}",
        zorder=3,
    )
    set_tooltip(bars.lines[0], point.name)


def name_levels(axes: Axes, levels: Sequence[tuple[str, float]]) -> None:
    """Write the name of each level above its line; below it where it would cover the name of the level before."""
    lay_out(axes)
    height_before = math.inf
    for name, rate in sorted(levels, key=lambda level: -level[1]):
        height = axes.transData.transform((0, rate))[1] * 72 / axes.figure.dpi
        above = height_before - height > 14
        text = axes.annotate(
            name,
            (1, rate),
            (-2, 3 if above else -3),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            va="bottom" if above else "top",
            fontsize=12,
            color=SOFT,
            parse_math=False,
        )
        text.set_in_layout(False)
        height_before = height


def number_points(axes: Axes, points: Sequence[FrontierPoint]) -> None:
    """Write each point's number where it covers neither a marker nor another number; call it when all else is drawn."""
    lay_out(axes)
    scale = 72 / axes.figure.dpi
    places = [tuple(scale * axes.transData.transform((point.gmacs, point.rate))) for point in points]
    area = axes.bbox
    left, right, bottom, top = (scale * edge for edge in (area.x0, area.x1, area.y0, area.y1))
    taken = list(places)
    for point, (x, y) in zip(points, places, strict=True):
        if not point.number:
            continue
        inside = [(dx, dy) for dx, dy in _offsets() if left + 6 < x + dx < right + 4 and bottom + 6 < y + dy < top + 8]
        free = [(dx, dy) for dx, dy in inside if all(abs(x + dx - a) > 12 or abs(y + dy - b) > 11 for a, b in taken)]
        dx, dy = (free or inside or [(0.0, 11.0)])[0]
        taken.append((x + dx, y + dy))
        _write_number(axes, point, dx, dy)


def _write_number(axes: Axes, point: FrontierPoint, dx: float, dy: float) -> None:
    """Write a point's number at a distance, with a thin line to its marker where it is far."""
    leader = {"arrowstyle": "-", "color": SOFT, "lw": 0.8, "shrinkA": 5, "shrinkB": 0}
    text = axes.annotate(
        point.number,
        (point.gmacs, point.rate),
        (dx, dy),
        textcoords="offset points",
        ha="center",
        va="center_baseline",
        fontsize=11,
        fontweight="bold",
        color=INK,
        arrowprops=leader if math.hypot(dx, dy) > 15 else None,
        zorder=4,
    )
    text.set_in_layout(False)


def _offsets() -> list[tuple[float, float]]:
    angles = [math.pi * eighth / 4 for eighth in _DIRECTIONS]
    return [(far * math.cos(angle), far * math.sin(angle)) for far in _MARKER_DISTANCES for angle in angles]


def lay_out(axes: Axes) -> None:
    """Place the axes of a figure as they will be drawn, without drawing them."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
