"""Figures: accuracy against cost, gains and confusions by class, a sampler's most and least probable clips (Fig. 5)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from dsn_lightning.evaluation.chart_style import PALETTE, label_axes, new_chart
from dsn_lightning.evaluation.frontier import FrontierPoint, colours_of, draw_frontier, number_points
from dsn_lightning.evaluation.results import Row, mean_and_spread
from dsn_lightning.evaluation.row_methods import kinds_of, method_name
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.files import replaced
from dsn_lightning.selections import BASELINE_CLASSIFIER
from dsn_lightning.selections.scheme import Scheme, softmax
from dsn_lightning.text_tables import count_text
from dsn_lightning.video.clip_reader import ClipReader
from dsn_lightning.video.modality import FLOW_LEGEND, as_pictures, is_flow
from dsn_lightning.video.time_line import Video

RANKS = ("most probable", "second", "second least", "least probable")
"""Ranks of the clips that a contact sheet shows of a video."""
_GAIN, _LOSS = PALETTE[2], PALETTE[3]
_MAX_BARS = 40  # classes whose gains can be read; of more, those that gain and lose most
_MAX_NAMES = 60  # classes whose names fit beside a confusion matrix


def save_figure(figure: Figure, path: Path, *, dpi: int) -> None:
    """Write a figure as a picture; no name in it, such as that of a class, is read as a formula."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with replaced(path) as partial, matplotlib.rc_context({"text.parse_math": False}):
        figure.savefig(partial, dpi=dpi)


def cost_figure(rows: Sequence[Row], path: Path) -> None:
    """Write `cost_chart` as a picture."""
    save_figure(cost_chart(rows), path, dpi=150)


@matplotlib.rc_context({"text.parse_math": False})
def cost_chart(rows: Sequence[Row]) -> Figure:
    """Draw accuracy against GMACs a video, a point for each row, means and standard deviations over seeds.

    The accuracy is top-1, or mAP where no row has top-1. A filled marker answers with the baseline's classifier, a
    hollow one with a classifier that was trained together with a sampler. Dashed lines are the first upper bound.
    """
    metric = "top1" if any(row["top1"] is not None for row in rows) else "map"
    kinds = kinds_of(rows)
    bound = next((name for name, kind in kinds.items() if kind == "upper_bound"), None)
    groups = [(_label(row, rows), row, 100 * figures[metric]) for row, figures in mean_and_spread(rows)]
    with_cost = [group for group in groups if group[1]["gmacs"] is not None]
    points = [
        FrontierPoint(
            name=label,
            gmacs=row["gmacs"],
            rate=float(rates.mean()),
            spread=float(rates.std(ddof=1)) if len(rates) > 1 else None,
            colour=PALETTE[colours_of(kinds)[row["selection"]]],
            hollow=row["classifier"] != BASELINE_CLASSIFIER,
            number=str(i + 1),
        )
        for i, (label, row, rates) in enumerate(with_cost)
    ]
    levels = [(label, float(rates.mean())) for label, row, rates in groups if row["selection"] == bound]
    figure, axes = new_chart(560, 330)
    draw_frontier(axes, points, metric={"top1": "top-1", "map": "mAP"}[metric], levels=levels)
    axes.set_title(rows[0]["dataset"], parse_math=False)
    legend = figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    number_points(axes, points)
    return figure


def _label(row: Row, rows: Sequence[Row]) -> str:
    name = method_name(row["selection"], row["classifier"], {other["classifier"] for other in rows})
    return f"{name}, {count_text(row['clips'])} clip{'s' * (row['clips'] != 1)}"


def class_figure(statistics: Mapping[str, Any], path: Path) -> None:
    """Write `class_chart` as a picture; no file if there is nothing to draw."""
    figure = class_chart(statistics)
    if figure is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure, path, dpi=130)


@matplotlib.rc_context({"text.parse_math": False})
def class_chart(statistics: Mapping[str, Any]) -> Figure | None:
    """Draw what each class gains in top-1 by the first method with a sampler, and the confusion matrix (row shares).

    ``statistics`` is the content of ``statistics.json``. Classes without a video and without an answer are left out.
    None if there is nothing to draw.
    """
    gains, confusion = statistics["classes"][:1], statistics["confusion"]
    if not gains and confusion is None:
        return None
    parts = len(gains) + (confusion is not None)
    bars = min(_MAX_BARS, len(gains[0]["gains"])) if gains else 0
    counts = np.array([] if confusion is None else confusion["counts"])
    seen = np.flatnonzero(counts.sum(0) + counts.sum(1)) if counts.size else np.array([], np.int64)
    height = max(4.5, 0.16 * max(bars, min(_MAX_NAMES, len(seen))) + 2)
    figure = Figure(figsize=(6 * len(gains) + (height + 1.5) * (confusion is not None), height), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, parts)))
    if gains:
        _draw_gains(axes[0], gains[0])
    if confusion is not None:
        shown = axes[-1].imshow(np.array(confusion["shares"])[np.ix_(seen, seen)], cmap="Blues", vmin=0, vmax=1)
        label = "share of the class's videos"
        figure.colorbar(shown, ax=axes[-1], label=label, shrink=0.7, format=PercentFormatter(1))
        axes[-1].set(xlabel="taken for", ylabel="class", title=_title(confusion["method"]))
        if len(seen) <= _MAX_NAMES:
            names = [confusion["classes"][j] for j in seen]
            axes[-1].set_xticks(range(len(seen)), names, rotation=90, fontsize=7)
            axes[-1].set_yticks(range(len(seen)), names, fontsize=7)
    return figure


def _draw_gains(axes: Axes, entry: Mapping[str, Any]) -> None:
    gains = entry["gains"]
    half = _MAX_BARS // 2
    shown = gains if len(gains) <= _MAX_BARS else [*gains[:half], *gains[-half:]]
    values = [100 * gain["top1_gain"] for gain in shown]
    axes.barh(range(len(shown)), values, color=[_GAIN if value >= 0 else _LOSS for value in values])
    labels = [f"{gain['class']} ({gain['videos']})" for gain in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.axvline(0, color="black", lw=0.8)
    axes.grid(axis="x", alpha=0.3)
    part = "" if shown is gains else f"\nthe {half} largest gains and the {half} largest losses of {len(gains)} classes"
    axes.set(
        xlabel="gain in top-1, percentage points (number of videos after each name)",
        title=f"{_title(entry['method'])}:\ngain over {entry['other']['selection']} clips{part}",
    )


def _title(method: Mapping[str, Any]) -> str:
    return f"{method['selection']}, {method['classifier']}'s classifier, {method['M']}:{method['N']}"


Curves = Mapping[str, Sequence[tuple[int, float, float | None]]]
"""Method -> points: clips, mean over seeds in [0, 1], standard deviation (None with one seed)."""


def clips_figure(curves: Curves, path: Path, *, metric: str, title: str) -> None:
    """Write `clips_chart` as a picture."""
    save_figure(clips_chart(curves, metric=metric, title=title), path, dpi=150)


@matplotlib.rc_context({"text.parse_math": False})
def clips_chart(curves: Curves, *, metric: str, title: str) -> Figure:
    """Draw accuracy against the number of clips, a line for each selection method (Fig. 4).

    ``metric`` is named as readers know it.
    """
    figure, axes = new_chart(504, 324)
    label_axes(axes, "clips that are classified (M)", f"{metric} (%)")
    for i, (name, points) in enumerate(curves.items()):
        aside = 0.08 * (i - (len(curves) - 1) / 2)  # so that bars do not hide each other
        clips, mean = [p[0] + aside for p in points], [100 * p[1] for p in points]
        spread = [100 * (p[2] or 0.0) for p in points]
        bars = spread if any(spread) else None
        axes.errorbar(clips, mean, yerr=bars, marker="o", ms=4, capsize=3, label=name, color=PALETTE[i % len(PALETTE)])
    axes.set_xticks(sorted({p[0] for points in curves.values() for p in points}))
    figure.suptitle(title)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(curves), frameon=False)
    return figure


def most_and_least(policy: NDArray[np.floating]) -> dict[str, int]:
    """Return rank of `RANKS` -> position in ``policy`` (K,) of the two most and the two least probable clips.

    No clip has two ranks: with two or three clips, none is second least.

    >>> most_and_least(np.array([0.2, 0.5, 0.3]))
    {'most probable': 1, 'second': 2, 'least probable': 0}
    """
    order: list[int] = np.argsort(-policy, kind="stable").tolist()
    most, least = order[:2], order[2:][-2:]
    if len(order) == 2:
        most, least = order[:1], order[1:]
    return dict(zip(RANKS, most, strict=False)) | dict(zip(RANKS[len(RANKS) - len(least) :], least, strict=True))


def clip_caption(probability: float, seconds: float, *, shows_action: bool | None) -> str:
    """Return what stands above a clip: its probability in [0, 1], its start, and whether it shows the action.

    >>> clip_caption(0.312, 1.5, shows_action=None), clip_caption(0.05, 12, shows_action=False)
    ('31.2%  at 1.5 s', '5.0%  at 12.0 s  no action')
    """
    mark = "" if shows_action is None else "  action" if shows_action else "  no action"
    return f"{probability:.1%}  at {seconds:.1f} s{mark}"


def contact_sheets(
    scores: ClipScores,
    sampler: str,
    scheme: Scheme,
    videos: Sequence[Video],
    chosen: NDArray[np.int64],
    reader: ClipReader,
    path: Path,
) -> None:
    """Write `contact_sheet` as a picture."""
    save_figure(contact_sheet(scores, sampler, scheme, videos, chosen, reader), path, dpi=110)


def contact_sheet(
    scores: ClipScores,
    sampler: str,
    scheme: Scheme,
    videos: Sequence[Video],
    chosen: NDArray[np.int64],
    reader: ClipReader,
) -> Figure:
    """Draw, for each chosen video, the two most and the two least probable clips, three frames of each (Fig. 5).

    The probability and the time of a clip are printed above it, and whether it shows the action where spans are known.
    Flow is drawn in colours; see `flow_colours`. ``chosen`` are indices into ``videos``, which are in the order of the
    scores.
    """
    known = scores.videos()
    grids = [scheme.grid(videos[v].num_frames) for v in chosen]
    policies = [softmax(known[v].policies[sampler][grid.shape]).ravel() for v, grid in zip(chosen, grids, strict=True)]
    ranked = [most_and_least(policy) for policy in policies]
    columns = [rank for rank in RANKS if any(rank in picks for picks in ranked)]
    figure = Figure(figsize=(3.5 * len(columns), 1.35 * len(chosen) + 0.5), layout="constrained")
    axes = figure.subplots(len(chosen), len(columns), squeeze=False)
    flow = False
    for line, (v, grid, policy, picks) in enumerate(zip(chosen, grids, policies, ranked, strict=True)):
        starts = grid.ravel()[list(picks.values())]
        clips = reader(videos[v], starts).permute(0, 2, 3, 4, 1).numpy()  # (at most 4, T, H, W, C)
        flow = is_flow(clips)
        shown = scores.shows_action(int(v), starts)
        for rank in {*columns} - {*picks}:
            axes[line][columns.index(rank)].set_axis_off()
        for i, (rank, pick) in enumerate(picks.items()):
            cell = axes[line][columns.index(rank)]
            shots = as_pictures(clips[i][[0, clips.shape[1] // 2, -1]])  # (3, H, W, 3)
            cell.imshow(np.concatenate(list(shots), axis=1), interpolation="nearest")
            cell.set(xticks=[], yticks=[])
            shows_action = None if shown is None else bool(shown[i])
            caption = clip_caption(policy[pick], starts[i] / videos[v].fps, shows_action=shows_action)
            cell.set_title(caption, fontsize=8)
        names = [str(name) for name in scores.classes[scores.targets[v] > 0]]
        axes[line][0].set_ylabel("\n".join(names) or "background", fontsize=8)
    legend = f"\n{FLOW_LEGEND}" if flow else ""
    all_ranks = "two most probable clips (left), two least probable (right)"
    heading = all_ranks if columns == [*RANKS] else f"{', '.join(columns)}, from left to right"
    figure.suptitle(f"{sampler}: {heading}{legend}", fontsize=10)
    return figure
