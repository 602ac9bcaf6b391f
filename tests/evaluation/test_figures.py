"""Charts as figures: what a notebook shows and what is written to a file are one."""

import importlib

import matplotlib
import matplotlib.pyplot as plt
import pytest

from dsn_lightning.evaluation import chart_style
from dsn_lightning.evaluation.figures import class_chart, class_figure, clips_chart, clips_figure


def test_the_package_leaves_the_backend_of_a_notebook_alone():
    before = matplotlib.get_backend()
    plt.switch_backend("svg")
    try:
        importlib.reload(chart_style)
        assert matplotlib.get_backend() == "svg"
    finally:
        plt.switch_backend(before)


def test_accuracy_by_clips_is_drawn_in_percent():
    curves = {"uniform": [(1, 0.5, None), (2, 0.625, None)], "dsn": [(1, 0.75, 0.1), (2, 0.8, 0.05)]}
    figure = clips_chart(curves, metric="top-1", title="needle")
    (axes,) = figure.axes
    assert [container.lines[0].get_ydata().tolist() for container in axes.containers] == [
        pytest.approx([50, 62.5]),
        pytest.approx([75, 80]),
    ]
    assert axes.get_ylabel() == "top-1 (%)"


def test_the_picture_of_a_chart_is_written(tmp_path):
    clips_figure({"dsn": [(1, 0.5, None)]}, tmp_path / "clips.png", metric="top-1", title="needle")
    assert (tmp_path / "clips.png").read_bytes()[:4] == b"\x89PNG"


def test_nothing_is_drawn_of_classes_without_gains_or_confusions(tmp_path):
    statistics = {"classes": [], "confusion": None}
    assert class_chart(statistics) is None
    class_figure(statistics, tmp_path / "classes.png")
    assert not (tmp_path / "classes.png").exists()


@pytest.mark.parametrize("name", ["$\\foo$", "$\\frac{$", "$" + "{" * 40 + "$", "$x^2$"])
def test_class_names_are_not_parsed_as_math(name, tmp_path):
    method = {"selection": name, "classifier": "dsn", "M": 1, "N": 3}
    gains = [{"class": name, "videos": 3, "top1_gain": 0.5}]
    statistics = {
        "classes": [{"method": method, "other": method, "gains": gains}],
        "confusion": {"method": method, "classes": [name, "b"], "counts": [[1, 0], [0, 1]], "shares": [[1, 0], [0, 1]]},
    }
    class_figure(statistics, tmp_path / "classes.png")
    assert (tmp_path / "classes.png").read_bytes()[:4] == b"\x89PNG"
    figure = class_chart(statistics)
    figure.canvas.draw()  # as a notebook does
    texts = [text for axes in figure.axes for text in axes.get_yticklabels() if name in text.get_text()]
    assert len(texts) == 2
    assert not any(text.get_parse_math() for text in texts)
    curves = {name: [(1, 0.5, None), (2, 0.625, None)]}
    clips_figure(curves, tmp_path / "clips.png", metric=name, title=name)
