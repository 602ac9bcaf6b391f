"""Figures: accuracy against cost, gains and confusions by class, a sampler's most and least probable clips (Fig. 5)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dsn_lightning.evaluation.results import Row, mean_and_spread
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.selections.scheme import Scheme, softmax
from dsn_lightning.video.clip_reader import ClipReader, Video
from dsn_lightning.video.modality import FLOW_LEGEND, as_pictures, is_flow

mpl.use("Agg")

RANKS = ("most probable", "second", "second least", "least probable")
"""Of the clips that are shown of a video."""
_COLOURS = {"random": "#7f7f7f", "uniform": "#1f77b4", "max_response": "#9467bd", "dsn_fixed": "#ff7f0e",
            "dsn": "#d62728", "dense": "#2ca02c"}  # fmt: skip


def cost_figure(rows: Sequence[Row], path: Path) -> None:
    """Draw top-1 against GMACs a video, a point a row (mean and standard deviation over seeds), oracles as lines.

    A filled marker answers with the baseline's classifier, a hollow one with DSN's.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for row, figures in mean_and_spread(rows):
        top1 = 100 * figures["top1"]
        hollow = row["classifier"] == "dsn"
        label = row["selection"] + (" (DSN's classifier)" if hollow else "") + f", {row['clips']} clips"
        if row["gmacs"] is None:
            if row["selection"] == "oracle":
                axes.axhline(top1.mean(), color="black", lw=1, ls=":" if hollow else "--", label=label)
            continue
        colour = _COLOURS.get(row["selection"], "#17becf")
        spread = top1.std(ddof=1) if len(top1) > 1 else None
        axes.errorbar(row["gmacs"], top1.mean(), yerr=spread, marker="o", ms=8, capsize=3, ls="none", color=colour,
                      mfc="none" if hollow else colour, label=label)  # fmt: skip
    axes.set(xlabel="GMACs a video (classifier + sampler)", ylabel="top-1 accuracy (%)", title=rows[0]["dataset"])
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    figure.savefig(path, dpi=150)


def sheet_videos(num_videos: int, *, at_most: int = 6, seed: int = 0) -> NDArray[np.int64]:
    """Return the indices of the videos on a contact sheet, ascending: chosen by ``seed``, not by hand.

    >>> sheet_videos(100).tolist(), sheet_videos(2).tolist()
    ([5, 16, 20, 36, 82, 93], [0, 1])
    """
    return np.sort(np.random.default_rng(seed).permutation(num_videos)[:at_most])


_MOST_BARS = 40  # classes whose gains can be read; of more, those that gain and lose most
_MOST_NAMES = 60  # classes whose names fit beside a confusion matrix


def class_figure(statistics: Mapping[str, Any], path: Path) -> None:
    """Draw what each class gains in top-1 by the first method with a sampler, and the confusion matrix (row shares).

    Classes that have no video and are never answered are left out.

    Args:
        statistics: what ``statistics.json`` holds; see `evaluation.comparing`.
        path: of the picture, which is left out where there is nothing to draw.
    """
    gains, confusion = statistics["classes"][:1], statistics["confusion"]
    if not gains and confusion is None:
        return
    parts = len(gains) + (confusion is not None)
    bars = min(_MOST_BARS, len(gains[0]["gains"])) if gains else 0
    counts = np.array([] if confusion is None else confusion["counts"])
    seen = np.flatnonzero(counts.sum(0) + counts.sum(1)) if counts.size else np.array([], np.int64)
    height = max(4.5, 0.16 * max(bars, min(_MOST_NAMES, len(seen))) + 2)
    figure = Figure(figsize=(6 * len(gains) + (height + 1.5) * (confusion is not None), height), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, parts)))
    if gains:
        _draw_gains(axes[0], gains[0])
    if confusion is not None:
        shown = axes[-1].imshow(np.array(confusion["shares"])[np.ix_(seen, seen)], cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(shown, ax=axes[-1], label="share of the class's videos", shrink=0.7)
        axes[-1].set(xlabel="taken for", ylabel="class", title=_title(confusion["method"]))
        if len(seen) <= _MOST_NAMES:
            names = [confusion["classes"][j] for j in seen]
            axes[-1].set_xticks(range(len(seen)), names, rotation=90, fontsize=7)
            axes[-1].set_yticks(range(len(seen)), names, fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _draw_gains(axes: Any, entry: Mapping[str, Any]) -> None:
    every = entry["gains"]
    half = _MOST_BARS // 2
    shown = every if len(every) <= _MOST_BARS else [*every[:half], *every[-half:]]
    values = [100 * own["top1_gain"] for own in shown]
    colours = ["#2ca02c" if value >= 0 else "#d62728" for value in values]
    axes.barh(range(len(shown)), values, color=colours)
    labels = [f"{own['class']} ({own['videos']})" for own in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.axvline(0, color="black", lw=0.8)
    axes.grid(axis="x", alpha=0.3)
    some = "" if shown is every else f"\nthe {half} classes that gain and the {half} that lose most, of {len(every)}"
    axes.set(
        xlabel="gain in top-1, percentage points (number of videos behind each name)",
        title=f"{_title(entry['method'])}:\ngain over {entry['other']['selection']} clips{some}",
    )


def _title(method: Mapping[str, Any]) -> str:
    return f"{method['selection']}, {method['classifier']}'s classifier, {method['M']}:{method['N']}"


def clips_figure(curves: Mapping[str, Sequence[tuple[int, float, float | None]]], path: Path, *, metric: str,
                 title: str) -> None:  # fmt: skip
    """Draw accuracy against the number of clips, a line a method of selection (Fig. 4).

    Args:
        curves: method -> points: clips, mean over seeds in [0, 1], standard deviation (None with one seed).
        path: of the picture.
        metric: what the figures are.
        title: above.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, (name, points) in enumerate(curves.items()):
        aside = 0.08 * (i - (len(curves) - 1) / 2)  # so that bars do not hide each other
        clips, mean = [p[0] + aside for p in points], [100 * p[1] for p in points]
        spread = [100 * (p[2] or 0.0) for p in points]
        axes.errorbar(clips, mean, yerr=spread if any(spread) else None, marker="o", ms=4, capsize=3, label=name,
                      color=_COLOURS.get(name))  # fmt: skip
    axes.set(xlabel="clips that are classified (M, N = 3)", ylabel=f"{metric} (%)",
             xticks=sorted({p[0] for points in curves.values() for p in points}))  # fmt: skip
    axes.grid(alpha=0.3)
    figure.suptitle(title)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(curves), frameon=False)
    figure.savefig(path, dpi=150)


def most_and_least(policy: NDArray[np.floating]) -> dict[str, int]:
    """Return the two most and the two least probable of some clips, the most probable first, none of them twice.

    Args:
        policy: (K,) probabilities.

    Returns:
        Those of ``RANKS`` that there are -> position. Of two or three clips none is second least.

    >>> most_and_least(np.array([0.2, 0.5, 0.3]))
    {'most probable': 1, 'second': 2, 'least probable': 0}
    """
    order = [int(clip) for clip in np.argsort(-policy, kind="stable")]
    most, least = order[:2], order[2:][-2:]
    if len(order) == 2:
        most, least = order[:1], order[1:]
    return dict(zip(RANKS, most, strict=False)) | dict(zip(RANKS[len(RANKS) - len(least) :], least, strict=True))


def contact_sheets(
    scores: ClipScores,
    sampler: str,
    scheme: Scheme,
    videos: Sequence[Video],
    chosen: NDArray[np.int64],
    reader: ClipReader,
    path: Path,
) -> None:
    """Draw, for each chosen video, the two most and the two least probable clips, three frames of each (Fig. 5).

    Probability, time and, where spans are known, whether the clip shows the action are printed above each. Flow is
    drawn in colours; see `flow_colours`.
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
            mark = "" if shown is None else "  action" if shown[i] else "  no action"
            cell.set_title(f"p = {policy[pick]:.3f}  at {starts[i] / videos[v].fps:.1f} s{mark}", fontsize=8)
        names = [str(name) for name in scores.classes[scores.targets[v] > 0]]
        axes[line][0].set_ylabel("\n".join(names) or "background", fontsize=8)
    legend = f"\n{FLOW_LEGEND}" if flow else ""
    heading = "two most probable clips (left), two least probable (right)"
    if columns != [*RANKS]:
        heading = ", ".join(columns) + ", from left to right"
    figure.suptitle(f"{sampler}: {heading}{legend}", fontsize=10)
    figure.savefig(path, dpi=110)
