"""Accuracy against cost: axes, front, numbers beside the points."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Annotation
from PIL import Image

from dsn_lightning.evaluation.chart_style import GROUND, TOOLTIP, new_chart
from dsn_lightning.evaluation.figures import cost_figure
from dsn_lightning.evaluation.frontier import FrontierPoint, draw_frontier, name_levels, number_points
from helpers.report_files import reference_row, row_of


def places_of(texts: list[Annotation]) -> list[tuple[float, float]]:
    boxes = [text.get_window_extent() for text in texts]
    return [((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) for box in boxes]


@pytest.mark.parametrize("seed", range(3))
def test_numbers_cover_neither_points_nor_each_other(seed):
    generator = np.random.default_rng(seed)
    points = [FrontierPoint(str(i), *generator.uniform((10, 50), (12, 52)), number=str(i)) for i in range(12)]
    figure, axes = new_chart(400, 300)
    draw_frontier(axes, points, metric="top-1")
    number_points(axes, points)
    figure.draw_without_rendering()
    assert [text.get_text() for text in axes.texts] == [str(i) for i in range(12)]
    numbers = places_of([text for text in axes.texts if isinstance(text, Annotation)])
    pixels = figure.dpi / 72
    markers = [tuple(axes.transData.transform((point.gmacs, point.rate))) for point in points]
    pairs = [*itertools.combinations(numbers, 2), *itertools.product(numbers, markers)]
    assert all(math.dist(a, b) > 8 * pixels for a, b in pairs)


@pytest.mark.parametrize(("costs", "scale"), [((10, 150), "linear"), ((10, 201), "log"), ((0, 201), "linear")])
def test_costs_beyond_a_factor_of_20_have_a_log_axis(costs, scale):
    _, axes = new_chart(400, 300)
    draw_frontier(axes, [FrontierPoint("a", cost, 50) for cost in costs], metric="top-1")
    assert axes.get_xscale() == scale
    assert scale == "log" or axes.get_xlim()[0] == 0


def test_the_front_steps_through_the_unbeaten_points():
    _, axes = new_chart(400, 300)
    points = [FrontierPoint(str(i), cost, rate) for i, (cost, rate) in enumerate([(1, 50), (2, 40), (2, 70), (3, 70)])]
    draw_frontier(axes, points, metric="top-1")
    (front,) = [line for line in axes.lines if line.get_gid() == f"{TOOLTIP}Pareto front"]
    assert front.get_xydata().tolist() == [[1, 50], [2, 70]]
    assert front.get_drawstyle() == "steps-post"


def test_bars_are_the_spread_and_hollow_markers_have_no_filling():
    _, axes = new_chart(400, 300)
    draw_frontier(axes, [FrontierPoint("a", 1, 50, 2.0), FrontierPoint("b", 2, 60, hollow=True)], metric="top-1")
    (bar,) = [path for collection in axes.collections for path in collection.get_segments()]
    assert bar.tolist() == [[1, 48], [1, 52]]
    markers = {line.get_gid(): line.get_markerfacecolor() == GROUND for line in axes.lines if line.get_gid()}
    assert (markers[f"{TOOLTIP}a"], markers[f"{TOOLTIP}b"]) == (False, True)


def test_names_of_close_levels_lie_on_different_sides():
    figure, axes = new_chart(400, 300)
    levels = [("a $x$", 70.0), ("b", 69.5)]
    draw_frontier(axes, [FrontierPoint("a", 1, 50)], metric="top-1", levels=levels)
    name_levels(axes, levels)
    figure.draw_without_rendering()
    upper, lower = (text.get_window_extent() for text in axes.texts)
    assert upper.y0 > axes.transData.transform((0, 70))[1]
    assert lower.y1 < axes.transData.transform((0, 69.5))[1]


def test_a_picture_is_drawn_of_rows_with_map_alone_and_any_names(tmp_path: Path):
    rows = [
        reference_row("a_$b", top1=None, map=0.3, top5=None, mean_class=None),
        row_of(selection="mine", classifier="mine", top1=None, map=0.5, top5=None, mean_class=None, gmacs=30.0),
        reference_row("best", top1=None, map=0.9, top5=None, mean_class=None, gmacs=None, gmacs_observation=None),
    ]
    cost_figure(json.loads(json.dumps(rows)), tmp_path / "cost.png")
    picture = np.asarray(Image.open(tmp_path / "cost.png").convert("RGB")).reshape(-1, 3)
    for colour in ((0x5F, 0x6A, 0x74), (0x7D, 0x4F, 0xB0)):  # the first reference, the first learned method
        assert (picture == colour).all(1).sum() > 30
