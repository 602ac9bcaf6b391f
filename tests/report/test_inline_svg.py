"""Figures in the page: repeatable, self-contained, in the colours of the page's theme."""

import re
from importlib.resources import files

from dsn_lightning.evaluation.chart_style import GROUND, INK, PALETTE, label_axes, new_chart, set_tooltip
from dsn_lightning.report.inline_svg import inline_svg

STYLE = (files("dsn_lightning.report") / "page_files/page.css").read_text()


def drawn(name: str = "chart", text: str = "a point") -> str:
    figure, axes = new_chart(360, 250)
    label_axes(axes, "epoch", "loss")
    for i, colour in enumerate(PALETTE):
        (line,) = axes.plot([0, 1], [i, i + 1], "o-", color=colour, markerfacecolor=GROUND)
        set_tooltip(line, f"{text} {i}")
    axes.annotate("7", (0, 0), color=INK, fontweight="bold")
    return inline_svg(figure, name=name, title=text, width=360, runs={f"{text} 0": "run & 0"})


def test_the_same_figure_has_the_same_bytes():
    assert drawn() == drawn()


def test_figures_of_different_names_share_no_id():
    first, second = (set(re.findall(r'\bid="(.*?)"', drawn(name))) for name in ("a", "b"))
    assert first
    assert second
    assert not first & second
    assert set(re.findall(r'href="#(.*?)"|url\(#(.*?)\)', drawn("a"))) <= {("", i) for i in first} | {
        (i, "") for i in first
    }


def test_colours_are_variables_that_both_themes_define():
    svg = drawn()
    assert not re.search(r"#[0-9a-f]{6}\b(?![^<]*>[^<]*</use>)", re.sub(r'(id|href|clip-path)="[^"]*"', "", svg))
    variables = set(re.findall(r"var\((--\w+)\)", svg))
    assert {f"--c{i}" for i in range(8)} | {"--paper", "--ink", "--soft", "--line"} == variables
    light, dark = STYLE.split("@media (prefers-color-scheme: dark)")
    assert all(f"{variable}:" in theme for variable in variables for theme in (light, dark[: dark.index("* {")]))


def test_the_light_theme_has_the_colours_of_the_pictures():
    light = dict(re.findall(r"(--c\d): (#\w+)", STYLE.partition("@media")[0]))
    assert [light[f"--c{i}"] for i in range(8)] == [*PALETTE]


def test_tooltips_and_titles_are_escaped_text():
    svg = drawn(text='<b>"x"</b> & $y$')
    assert '<title>&lt;b&gt;"x"&lt;/b&gt; &amp; $y$ 0</title>' in svg
    assert 'aria-label="&lt;b&gt;&quot;x&quot;&lt;/b&gt; &amp; $y$"' in svg
    assert svg.count('data-run="run &amp; 0"') == 1


def test_nothing_refers_outside_and_text_stays_text():
    svg = drawn()
    assert "http" not in svg
    assert "<style" not in svg
    assert "<metadata" not in svg
    assert "font-family" not in svg
    assert ">epoch</text>" in svg
    assert ">loss</text>" in svg
    assert 'class="label"' in svg
