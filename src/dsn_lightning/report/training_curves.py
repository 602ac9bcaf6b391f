"""Training curves: a chart for each logged figure, a line for each run."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dsn_lightning.evaluation.chart_style import DASHES, PALETTE, label_axes, new_chart, set_tooltip
from dsn_lightning.report.collect import Run
from dsn_lightning.report.frontiers import LegendEntry, ReportChart
from dsn_lightning.report.inline_svg import inline_svg

_MAX_DISTINCT = 24  # runs that each have a look of their own; more are drawn faintly, by algorithm

_DRAWN = 1e30  # larger values overflow in the chart; NaN is not drawn either

CURVES = {
    "train/classifier_loss": ("classifier's loss", "loss"),
    "train/policy_reward": ("mean reward of the sampled clips", "reward"),
    "train/policy_entropy": ("entropy of the policy", "nats"),
    "val/top1": ("validation accuracy", "top-1 (%)"),
    "val/map": ("validation mAP", "mAP (%)"),
}
"""Key of the history -> title and unit of its chart."""


def training_curves(runs: Sequence[Run]) -> list[tuple[str, list[ReportChart], list[LegendEntry]]]:
    """Return, for each data set, the charts over epochs and their common legend."""
    places: dict[str, list[Run]] = {}
    for run in runs:
        if run.history:
            places.setdefault(run.dataset, []).append(run)
    shown: list[tuple[str, list[ReportChart], list[LegendEntry]]] = []
    for dataset, members in sorted(places.items()):
        looks, legend = _looks(members)
        drawn = [_curve(f"curve-{len(shown)}-{i}", key, members, looks) for i, key in enumerate(CURVES)]
        if charts := [chart for chart in drawn if chart is not None]:
            shown.append((dataset, charts, legend))
    return shown


def _looks(runs: Sequence[Run]) -> tuple[Mapping[str, int], list[LegendEntry]]:
    """Return each run's look and the legend: the runs where they are few, otherwise the algorithms."""
    if len(runs) <= _MAX_DISTINCT:
        looks = {run.name: i for i, run in enumerate(runs)}
        states = ["" if run.state == "finished" else f", {run.state}" for run in runs]
        return looks, [LegendEntry(f"{r.name} ({_algorithm(r)}{states[i]})", looks[r.name]) for i, r in enumerate(runs)]
    counts = Counter(map(_algorithm, runs))  # in the order of their first run
    legend = [LegendEntry(f"{algorithm} ({count} runs)", i) for i, (algorithm, count) in enumerate(counts.items())]
    return {run.name: [*counts].index(_algorithm(run)) for run in runs}, legend


def _algorithm(run: Run) -> str:
    return str(run.config.get("algorithm.name", "unknown algorithm"))


def _curve(identifier: str, key: str, runs: Sequence[Run], looks: Mapping[str, int]) -> ReportChart | None:
    title, unit = CURVES[key]
    factor = 100 if unit.endswith("(%)") else 1
    lines = {}
    for run in runs:
        logged = [(row["epoch"], factor * row[key]) for row in run.history if abs(row.get(key, math.nan)) < _DRAWN]
        if logged:
            lines[run.name] = thinned(logged)
    if not lines:
        return None
    figure, axes = new_chart(360, 250)
    label_axes(axes, "epoch", unit)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
    tooltips = {}
    for name, points in lines.items():
        tooltip = f"{name}: {points[-1][1]:.4g} at epoch {points[-1][0]:g}"
        set_tooltip(_draw_line(axes, points, looks[name], is_faint=len(lines) > _MAX_DISTINCT), tooltip)
        tooltips[tooltip] = name
    num_missing = len(runs) - len(lines)
    note = f"not logged by {num_missing} of {len(runs)} runs" if num_missing else ""
    shown = f"{len(lines)} runs" if len(lines) > 1 else next(iter(tooltips))
    svg = inline_svg(figure, name=identifier, title=f"{title} by epoch, {shown}", width=360, runs=tooltips)
    return ReportChart(title, svg, note=note)


def _draw_line(axes: Axes, points: Sequence[tuple[float, float]], look: int, *, is_faint: bool) -> Line2D:
    (line,) = axes.plot(
        *zip(*points, strict=True),
        color=PALETTE[look % len(PALETTE)],
        linestyle=DASHES[look // len(PALETTE) % len(DASHES)],
        linewidth=1 if is_faint else 1.8,
        alpha=0.22 if is_faint else None,
        marker="o" if len(points) == 1 else None,
        markersize=5,
    )
    return line


def thinned(points: Sequence[tuple[float, float]], at_most: int = 300) -> list[tuple[float, float]]:
    """Return at most ``at_most`` of the points at equal steps, the first and the last one included.

    >>> thinned([(0, 5), (1, 6), (2, 7), (3, 8), (4, 9)], at_most=3)
    [(0, 5), (2, 7), (4, 9)]
    """
    if len(points) <= at_most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (at_most - 1))] for i in range(at_most)]
