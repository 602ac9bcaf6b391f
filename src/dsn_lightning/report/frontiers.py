"""Charts of accuracy against cost, one for each data set and split, with their legends."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dsn_lightning.evaluation.chart_style import PALETTE, new_chart
from dsn_lightning.evaluation.frontier import (
    FrontierPoint,
    colours_of,
    draw_frontier,
    name_levels,
    number_points,
    pareto_front,
)
from dsn_lightning.evaluation.splits import HEADINGS
from dsn_lightning.report.inline_svg import inline_svg
from dsn_lightning.report.result_rows import Result
from dsn_lightning.selections import BASELINE_CLASSIFIER
from dsn_lightning.text_tables import count_text, percent

_MAX_NUMBERED = 24  # points beyond these have a tooltip only
_MAX_LEVELS = 2  # more dashed lines would hide the points


@dataclass(frozen=True)
class LegendEntry:
    """An entry of a legend."""

    text: str  #: what it is
    look: int  #: number of its colour, and of its dashes in lines
    number: str = ""  #: drawn beside the marker; empty for a line
    hollow: bool = False  #: whether the marker is hollow
    front: bool = False  #: whether no other point is as good at the same cost or less


@dataclass(frozen=True)
class ReportChart:
    """A chart with its legend and a note on what it leaves out."""

    title: str
    svg: Markup
    legend: Sequence[LegendEntry] = ()
    note: str = ""


def frontiers(results: Sequence[Result]) -> list[ReportChart]:
    """Return accuracy against GMACs a video, a chart for each data set and split.

    Upper bounds know the label and have no cost; the first method among them appears as dashed lines.
    """
    colours = colours_of({result.described["selection"]: result.kind for result in results})
    places: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        places.setdefault((result.described["dataset"], str(result.described.get("split"))), []).append(result)
    charts: list[ReportChart] = []
    for (dataset, split), members in places.items():
        name = dataset if split == "None" else f"{dataset}, split {split}"
        metric = members[0].main_figure
        shown = [member for member in members if member.mean("gmacs") is not None and member.mean(metric) is not None]
        if shown:
            charts.append(_frontier(f"frontier-{len(charts)}", name, shown, _bounds(members, metric), colours))
    return charts


def _bounds(members: Sequence[Result], metric: str) -> list[Result]:
    """Return the results of the first upper bound that have the metric."""
    bounds = [member for member in members if member.kind == "upper_bound" and member.mean(metric) is not None]
    return [member for member in bounds if member.described["selection"] == bounds[0].described["selection"]]


def _frontier(
    identifier: str, name: str, shown: Sequence[Result], bounds: Sequence[Result], colours: dict[str, int]
) -> ReportChart:
    metric = shown[0].main_figure
    places = [(_known(result, "gmacs"), 100 * _known(result, metric)) for result in shown]
    front = pareto_front(places)
    order = [*front, *sorted(set(range(len(shown))) - set(front), key=lambda i: places[i])]
    num_numbered = len(shown) if len(shown) <= _MAX_NUMBERED else min(len(front), _MAX_NUMBERED)
    names = _distinct_names(shown)
    rates = [percent(result.mean(metric), result.spread(metric)) for result in shown]
    texts = [f"{names[i]}: {rates[i]}% at {places[i][0]:.3g} GMACs" for i in range(len(shown))]
    points = [
        FrontierPoint(
            name=texts[i],
            gmacs=places[i][0],
            rate=places[i][1],
            spread=None if (spread := shown[i].spread(metric)) is None else 100 * spread,
            colour=PALETTE[colours[shown[i].described["selection"]]],
            hollow=shown[i].described.get("classifier") != BASELINE_CLASSIFIER,
            number=str(k + 1) if k < num_numbered else "",
        )
        for k, i in enumerate(order)
    ]
    bound_names = _distinct_names(bounds)
    levels = [(text, 100 * _known(bound, metric)) for text, bound in zip(bound_names, bounds, strict=True)]
    levels = levels if len(levels) <= _MAX_LEVELS else []
    figure, axes = new_chart(400, 300)
    draw_frontier(axes, points[::-1], metric=HEADINGS[metric], levels=levels)
    name_levels(axes, levels)
    number_points(axes, points)
    on_front = ", ".join(names[i] for i in front)
    title = f"{name}: {HEADINGS[metric]} against multiply-adds a video; on the front: {on_front}"
    legend = [
        LegendEntry(texts[i], colours[shown[i].described["selection"]], point.number, point.hollow, i in front)
        for i, point in zip(order, points, strict=True)
        if point.number
    ]
    notes = []
    if num_numbered < len(shown):
        notes.append(f"{len(shown) - num_numbered} more points have a tooltip and a row in the table.")
    if bounds and not levels:
        notes.append(f"{len(bounds)} upper bounds ({bounds[0].described['selection']}) appear in the table only.")
    return ReportChart(name, inline_svg(figure, name=identifier, title=title, width=520), legend, " ".join(notes))


def _known(result: Result, figure: str) -> float:
    value = result.mean(figure)
    assert value is not None
    return value


def _distinct_names(results: Sequence[Result]) -> list[str]:
    """Return each result's method with the fields in which the results differ."""
    keys = (
        "modality",
        "backbone",
        "observation",
        "estimator",
        "reward",
        "train_M",
        "train_N",
        "M",
        "N",
        "clips",
        "gamma",
        "crops",
    )
    kinds = {key: {str(result.described.get(key)) for result in results} for key in keys}
    varied = [key for key in keys if len(kinds[key] - {"None"}) > 1]
    names = []
    for result in results:
        known = {key: result.described[key] for key in varied if result.described.get(key) is not None}
        fields = [
            f"{count_text(v)} clip{'s' * (v != 1)}" if key == "clips" else f"{key}={v}" for key, v in known.items()
        ]
        names.append(", ".join([result.method, *fields, *filter(None, [result.setting])]))
    return names
