"""Confusion matrix: cells equal the counts."""

import re

import pytest

from dsn_lightning.report.confusion_matrix import draw_confusion, frequent_confusions

CONFUSION = {
    "method": {"selection": "dsn", "classifier": "dsn", "M": 3, "N": 4},
    "classes": ["<run>", "$walk$"],
    "counts": [[3, 1], [0, 2]],
    "shares": [[0.75, 0.25], [0.0, 1.0]],
}


def test_cells_are_the_counts_and_no_cell_is_drawn_for_none():
    svg = draw_confusion(CONFUSION, name="matrix")
    assert re.findall(r"<title>(.*?)</title>", svg) == [
        "&lt;run&gt; taken for &lt;run&gt;: 3 of 4",
        "&lt;run&gt; taken for $walk$: 1 of 4",
        "$walk$ taken for $walk$: 2 of 2",
    ]
    opacities = re.findall(r"<path[^>]*style=\"[^\"]*opacity: ([\d.]+)", svg)
    assert [float(value) for value in opacities] == [0.75, 0.25]  # 1 is not written
    assert svg.count(">$walk$</text>") == svg.count(">&lt;run&gt;</text>") == 2


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([[3, 1], [0, 2]], "dsn, 3:4; most often: <run> taken for $walk$ (1 of 4)."),
        ([[4, 0], [0, 2]], "dsn, 3:4: every answer is right."),
    ],
)
def test_frequent_confusions_in_words(counts, text):
    assert frequent_confusions({**CONFUSION, "counts": counts}, "dsn") == text
