"""The confusion matrix of an evaluation: as a chart, and its most frequent confusions in words."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from matplotlib.patches import Rectangle

from dsn_lightning.evaluation.chart_style import GRID, INK, PALETTE, new_chart, set_tooltip
from dsn_lightning.report.inline_svg import inline_svg

MAX_DRAWN = 60
"""Classes of the largest matrix that is drawn."""


def frequent_confusions(confusion: Mapping[str, Any], method: str) -> str:
    """Return the ten most frequent confusions of ``statistics.json`` as a sentence; readers know the method by name."""
    classes, counts = confusion["classes"], confusion["counts"]
    pairs = [
        (count, f"{label} taken for {answer} ({count} of {sum(row)})")
        for label, row in zip(classes, counts, strict=True)
        for answer, count in zip(classes, row, strict=True)
        if label != answer and count
    ]
    texts = [text for _, text in sorted(pairs, key=lambda pair: -pair[0])[:10]]
    name = f"{method}, {confusion['method']['M']}:{confusion['method']['N']}"
    return f"{name}; most often: {'; '.join(texts)}." if texts else f"{name}: every answer is right."


def draw_confusion(confusion: Mapping[str, Any], *, name: str) -> Markup:
    """Draw the matrix: a row for each label, a column for each answer, stronger for a larger share of the row."""
    classes, shares, counts = confusion["classes"], confusion["shares"], confusion["counts"]
    size = len(classes)
    side = (12 if size > 15 else 24) * size + 110
    figure, axes = new_chart(side, side)
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal")
    names = [label if len(label) <= 16 else f"{label[:15]}…" for label in classes]
    centres = [i + 0.5 for i in range(size)]
    axes.set_xticks(centres, names, rotation=60, ha="right", rotation_mode="anchor", fontsize=10, parse_math=False)
    axes.set_yticks(centres, names, fontsize=10, parse_math=False)
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[:].set_color(GRID)
    for i, label in enumerate(classes):
        for k, answer in enumerate(classes):
            if counts[i][k]:
                cell = Rectangle((k, i), 1, 1, color=PALETTE[0], alpha=max(shares[i][k], 0.08), lw=0)
                set_tooltip(axes.add_patch(cell), f"{label} taken for {answer}: {counts[i][k]} of {sum(counts[i])}")
    title = "confusion matrix: rows are labels, columns are answers"
    return inline_svg(figure, name=name, title=title, width=int(1.25 * side))
