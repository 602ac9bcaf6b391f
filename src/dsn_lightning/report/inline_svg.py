"""Turns a matplotlib figure into an SVG element of the page: colours that follow the page's theme, tooltips, text."""

import io
import re
import warnings
from collections.abc import Mapping
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from dsn_lightning.evaluation.chart_style import GRID, GROUND, INK, PALETTE, SOFT, TOOLTIP

_THEME = {
    GROUND: "var(--paper)",
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    GRID: "var(--line)",
    **{colour: f"var(--c{i})" for i, colour in enumerate(PALETTE)},
}
"""Colour of a figure -> the variable of page.css that takes its place."""


def inline_svg(figure: Figure, *, name: str, title: str, width: int, runs: Mapping[str, str] | None = None) -> Markup:
    """Return a figure as an ``<svg>`` element without outside references, the same bytes for the same figure.

    ``name`` is unique in the page and keeps the element's ids apart from those of other figures; ``title`` describes it
    for those who cannot see it. ``width`` is its maximum in pixels. ``runs``: tooltip -> name of the run it belongs
    to, which the page can highlight.
    """
    written = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's browser has its own fonts
        figure.patch.set_visible(False)
        for axes in figure.axes:
            axes.patch.set_visible(False)
        figure.savefig(written, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(written.getvalue())
    _drop_namespaces(root)
    referenced = set(re.findall(r"#(\w+)[\")]", written.getvalue()))
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in ("metadata", "style")]:
            parent.remove(child)
        _clean(parent, referenced, runs or {})
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib |= {"class": "chart", "viewBox": box, "style": f"--width:{width}px", "role": "img"}
    root.set("aria-label", title)
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))


def _drop_namespaces(root: ElementTree.Element) -> None:
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.text = element.text if element.tag == "text" else None
        element.tail = None
        for key in [key for key in element.attrib if "}" in key]:
            element.set(key.rpartition("}")[2], element.attrib.pop(key))


def _clean(element: ElementTree.Element, referenced: set[str], runs: Mapping[str, str]) -> None:
    """Set an element's tooltip and theme colours; drop ids without a reference and needless digits."""
    gid = element.get("id", "")
    if gid not in referenced:
        element.attrib.pop("id", None)
    if gid.startswith(TOOLTIP):
        text = gid.removeprefix(TOOLTIP)
        tooltip = ElementTree.Element("title")
        tooltip.text = text
        element.insert(0, tooltip)
        if text in runs:
            element.set("data-run", runs[text])
    for key in ("d", "x", "y", "width", "height", "transform"):
        if key in element.attrib:
            element.set(key, _rounded(element.attrib[key]))
    if element.get("transform", "").startswith("rotate(0 "):
        element.attrib.pop("transform")
    if "style" in element.attrib:
        style = re.sub(r"font-family: [^;]*; ", "", element.attrib["style"])
        element.set("style", re.sub("#[0-9a-f]{6}", lambda found: _THEME.get(found.group(), found.group()), style))
        if "font-weight: 700" in style:
            element.set("class", "label")


def _rounded(text: str) -> str:
    """Return coordinates with at most two decimals.

    >>> _rounded("M 0.12345 -0.00001 \\nL 400 3.5 ")
    'M 0.12 0 L 400 3.5'
    """
    short = re.sub(r"-?\d+\.\d+", lambda found: f"{float(found.group()):.2f}".rstrip("0").rstrip("."), text)
    return " ".join(re.sub(r"-0(?![\d.])", "0", short).split())
