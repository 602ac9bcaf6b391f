"""The look that all charts share, on a page as in pictures: colours, axes, tooltips."""

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

PALETTE = ("#1f6fb4", "#c25e00", "#1f7a1f", "#c62828", "#7d4fb0", "#0b7f8a", "#a8437f", "#5f6a74")
"""Colours of lines and markers; the report's page has a lighter one of each for dark screens."""
GROUND, INK, SOFT, GRID = "#ffffff", "#1b1f24", "#57606a", "#d0d7de"
DASHES = ("-", (0, (4, 2)), (0, (1, 2)))
"""Styles of lines: solid for the first eight, dashed for the next eight, then dotted."""
NEUTRAL = PALETTE[7]

TOOLTIP = "tooltip: "
"""What the gid of an artist starts with that has a tooltip on a page; the text follows."""


def new_chart(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes; sizes in points, 72 an inch, which are a page's pixels."""
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    return figure, figure.subplots()


def label_axes(axes: Axes, x_label: str, y_label: str) -> None:
    """Name the axes; draw horizontal grid lines and no frame."""
    axes.set_xlabel(x_label, fontsize=12, color=SOFT)
    axes.set_ylabel(y_label, fontsize=12, color=SOFT)
    axes.tick_params(labelsize=12, labelcolor=SOFT, color=GRID, length=4)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color=GRID, lw=1)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))


def use_log_scale(axes: Axes, low: float, high: float) -> None:
    """Make the horizontal axis logarithmic, with ticks at 1, 2 and 5 times powers of ten or at powers alone."""
    axes.set_xscale("log")
    factors = (1.0, 2.0, 5.0) if high < 300 * low else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=factors, numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def set_tooltip(artist: Artist, text: str) -> None:
    """Give an artist a tooltip, which appears where the figure becomes part of a page."""
    artist.set_gid(TOOLTIP + text)
