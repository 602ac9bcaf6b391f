"""What is drawn of results and histories: accuracy against cost with its front, and training curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dsn_lightning.report.chart import Chart, Line, Point, thinned
from dsn_lightning.report.collect import Run
from dsn_lightning.report.result_rows import Result

FEW = 24
"""Up to so many points each get a number, and up to so many runs each a line of its own look."""

CURVES = (
    ("classifier's loss", "train/classifier_loss", "loss"),
    ("mean reward of the sampled clips", "train/policy_reward", "reward"),
    ("entropy of the policy", "train/policy_entropy", "nats"),
    ("validation accuracy", "val/top1", "top-1 (%)"),
    ("validation mAP", "val/map", "mAP (%)"),
)  # fmt: skip
_LOOKS = {"random": 7, "uniform": 0, "max_response": 4, "dsn_fixed": 1, "dsn": 3, "dense": 2}
_NAMES = {"top1": "top-1", "map": "mAP"}


@dataclass(frozen=True)
class Legend:
    """An entry of a legend.

    Attributes:
        mark: number in the marker; empty for a line.
        text: what it is.
        look: see `chart.Line`.
        hollow: see `chart.Point`.
        front: whether no other is as good and as cheap.
    """

    mark: str
    text: str
    look: int
    hollow: bool = False
    front: bool = False


@dataclass(frozen=True)
class Figure:
    """A drawing with its legend and what is to be said of it."""

    title: str
    svg: Markup
    legend: Sequence[Legend] = ()
    note: str = ""


def method(result: Result) -> str:
    """Return what a result is called in figures and texts: the selection, and the classifier where it is another's.

    >>> def one(**fields): return Result({"classifier": "baseline", **fields}, "", (0,), {}, ())
    >>> method(one(selection="uniform")), method(one(selection="dsn"))
    ('uniform', "dsn (baseline's classifier)")
    """
    selection, classifier = result.described["selection"], str(result.described.get("classifier"))
    own = "dsn" if selection == "dsn" else "baseline"
    return selection if classifier == own else f"{selection} ({classifier}'s classifier)"


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which (cost, gain) points no other is at least as cheap and as good as, from the cheapest on.

    >>> pareto_front([(1, 0.5), (2, 0.4), (2, 0.7), (3, 0.7), (1, 0.2)])
    [0, 2]
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


def frontiers(results: Sequence[Result]) -> list[Figure]:
    """Return accuracy against GMACs a video, a figure for each data set and split; oracles, which cost nothing, as
    lines.
    """
    places: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        places.setdefault((result.described["dataset"], str(result.described.get("split"))), []).append(result)
    return [figure for place, members in places.items() if (figure := _frontier(place, members)) is not None]


def _frontier(place: tuple[str, str], members: Sequence[Result]) -> Figure | None:
    metric = members[0].main_figure
    shown = [own for own in members if own.mean("gmacs") is not None and own.mean(metric) is not None]
    if not shown:
        return None
    at = [(_known(own, "gmacs"), 100 * _known(own, metric)) for own in shown]
    front = pareto_front(at)
    order = [*front, *sorted(set(range(len(shown))) - set(front), key=lambda i: at[i])]
    numbers = {i: str(k + 1) for k, i in enumerate(order) if len(shown) <= FEW or k < min(len(front), FEW)}
    names = _distinct_names(shown)
    texts = {i: f"{names[i]}: {_with_spread(shown[i], metric)}% at {at[i][0]:.3g} GMACs" for i in order}
    points = [
        Point(texts[i], *at[i], look=_look(shown[i]), label=numbers.get(i, ""), hollow=_is_dsns(shown[i]),
              spread=100 * spread if (spread := shown[i].spread(metric)) else None)
        for i in reversed(order)
    ]  # fmt: skip
    oracles = [own for own in members if own.described["selection"] == "oracle" and own.mean(metric) is not None]
    levels = [(name, 100 * _known(own, metric)) for own, name in zip(oracles, _distinct_names(oracles), strict=True)]
    costs = [cost for cost, _ in at]
    name = f"{place[0]}{'' if place[1] == 'None' else f', split {place[1]}'}"
    line = Line("Pareto front", [at[i][0] for i in front], [at[i][1] for i in front], look=7, step=True)
    wide = max(costs) > 20 * min(costs) > 0
    chart = Chart(
        f"{name}: {_NAMES[metric]} against multiply-adds a video; on the front: {', '.join(names[i] for i in front)}",
        "GMACs a video (classifier and sampler)",
        f"{_NAMES[metric]} (%)",
        lines=[line] if len(front) > 1 else [],
        points=points,
        levels=levels if len(levels) <= 2 else [],
        width=400,
        height=300,
        most=520,
        log_x=wide,
        from_zero=not wide,
    )
    legend = [
        Legend(numbers[i], texts[i], _look(shown[i]), _is_dsns(shown[i]), i in front) for i in order if i in numbers
    ]
    unnamed = len(shown) - len(numbers)
    note = f"{unnamed} more points are named when pointed at, and stand in the table." if unnamed else ""
    if len(oracles) > 2:
        note += f" {len(oracles)} rows of oracles are left out; they stand in the table."
    return Figure(name, chart.svg(), legend, note.strip())


def _known(result: Result, figure: str) -> float:
    value = result.mean(figure)
    assert value is not None
    return value


def _is_dsns(result: Result) -> bool:
    return result.described.get("classifier") == "dsn"


def _look(result: Result) -> int:
    return _LOOKS.get(result.described["selection"], 5)


def _with_spread(result: Result, figure: str) -> str:
    spread = result.spread(figure)
    return f"{100 * _known(result, figure):.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def _distinct_names(results: Sequence[Result]) -> list[str]:
    """Return `method`, with whatever else differs among ``results``."""
    keys = ("modality", "backbone", "observation", "train_M", "train_N", "M", "N", "clips", "gamma", "crops")
    kinds = {key: {str(own.described.get(key)) for own in results} for key in keys}
    varied = [key for key in keys if len(kinds[key] - {"None"}) > 1]
    names = []
    for own in results:
        known = {key: own.described[key] for key in varied if own.described.get(key) is not None}
        more = [
            f"{value} clip{'s' * (value != 1)}" if key == "clips" else f"{key}={value}" for key, value in known.items()
        ]
        names.append(", ".join([method(own), *more, *filter(None, [own.setting])]))
    return names


def _clips(number: object) -> str:
    return "1 clip" if number == 1 else f"{number} clips"


def curves(runs: Sequence[Run]) -> list[tuple[str, list[Figure], list[Legend]]]:
    """Return for each data set its curves over epochs, a line a run, and their common legend."""
    places: dict[str, list[Run]] = {}
    for run in runs:
        if run.history:
            places.setdefault(str(run.config.get("dataset.name", "unknown data set")), []).append(run)
    shown = []
    for name, members in sorted(places.items()):
        looks, legend = _looks(members)
        figures = [
            figure for title, key, unit in CURVES if (figure := _curve(title, key, unit, members, looks)) is not None
        ]
        if figures:
            shown.append((name, figures, legend))
    return shown


def _looks(runs: Sequence[Run]) -> tuple[Mapping[str, int], list[Legend]]:
    """Return each run's look and the legend: runs where they are few, else kinds of algorithm."""
    if len(runs) <= FEW:
        looks = {run.name: i for i, run in enumerate(runs)}
        return looks, [Legend("", f"{run.name} ({_state(run)})", looks[run.name]) for run in runs]
    kinds = list(dict.fromkeys(_algorithm(run) for run in runs))
    counts = [sum(_algorithm(run) == kind for run in runs) for kind in kinds]
    legend = [
        Legend("", f"{kind} ({count} runs)", i) for i, (kind, count) in enumerate(zip(kinds, counts, strict=True))
    ]
    return {run.name: kinds.index(_algorithm(run)) for run in runs}, legend


def _algorithm(run: Run) -> str:
    return str(run.config.get("algorithm.name", "unknown algorithm"))


def _state(run: Run) -> str:
    return _algorithm(run) if run.state == "finished" else f"{_algorithm(run)}, {run.state}"


def _curve(title: str, key: str, unit: str, runs: Sequence[Run], looks: Mapping[str, int]) -> Figure | None:
    factor = 100 if unit.endswith("(%)") else 1
    lines = []
    for run in runs:
        logged = [(line["epoch"], factor * line[key]) for line in run.history if math.isfinite(line.get(key, math.nan))]
        if logged:
            x, y = thinned([epoch for epoch, _ in logged], [value for _, value in logged])
            text = f"{run.name}: {y[-1]:.4g} at epoch {x[-1]:g}"
            lines.append(Line(text, x, y, looks[run.name], run=run.name))
    if not lines:
        return None
    lacking = len(runs) - len(lines)
    note = f"not logged by {lacking} of {len(runs)} runs" if lacking else ""
    ends = f"{len(lines)} runs" if len(lines) > 1 else lines[0].name
    return Figure(
        title, Chart(f"{title} by epoch, {ends}", "epoch", unit, lines, crowded=len(lines) > FEW).svg(), note=note
    )
