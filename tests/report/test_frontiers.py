"""Accuracy against cost in the report: front, colours, metric."""

import re
from pathlib import Path

import pytest

from helpers.report_files import reference_row, row_of, write_rows


def test_no_row_on_the_front_is_beaten_at_its_cost(tmp_path, command):
    points = [(10, 0.5), (20, 0.45), (20, 0.6), (30, 0.6), (40, 0.7)]
    rows = [
        row_of(selection=f"s{i}", classifier="baseline", gmacs=float(cost), top1=top1)
        for i, (cost, top1) in enumerate(points)
    ]
    write_rows(tmp_path / "runs", *rows)
    command("runs")
    markdown = Path("report/report.md").read_text()
    assert re.findall(r"- (s\d): .* \(on the front\)", markdown) == ["s0", "s2", "s4"]


def test_colours_follow_from_costs_whatever_the_names(tmp_path, command):
    """Methods from outside: a reference, a method that pays for a sampler, an upper bound without a cost."""
    write_rows(
        tmp_path / "runs",
        reference_row("every_second", gmacs=10.0),
        row_of(selection="mine", classifier="mine", gmacs=12.0, top1=0.6),
        row_of(selection="best", classifier="baseline", gmacs=None, gmacs_observation=None, top1=0.9),
    )
    _, page = command("runs")
    legend = re.findall(r'class="point (c\d) (hollow|full)".*?<span>(\w+):', Path("report/report.html").read_text())
    assert legend == [("c7", "full", "every_second"), ("c4", "hollow", "mine")]
    assert "<title>best</title>" in Path("report/report.html").read_text()  # its level
    assert [row["selection"][0] for row in page.rows("results-table")] == ["every_second", "mine", "best"]


@pytest.mark.parametrize(
    ("dataset", "metric"),
    [
        ("hmdb51", "top-1"),
        ("activitynet", "top-1"),
        ("thumos14", "mAP"),
        ("thumos14_held_out", "mAP"),
        ("own", "top-1"),
    ],
)
def test_the_papers_metric_of_the_data_set_leads(tmp_path, command, dataset, metric):
    write_rows(tmp_path / "runs", row_of(dataset=dataset, top1=0.6, map=0.7))
    command("runs")
    rate = {"top-1": "60.0", "mAP": "70.0"}[metric]
    assert f"- dsn: {rate}% at 25 GMACs" in Path("report/report.md").read_text()
    assert f">{metric} (%)</text>" in Path("report/report.html").read_text()


def test_more_than_two_upper_bounds_are_named_in_a_note(tmp_path, command):
    bounds = [reference_row("best", M=m, clips=m, gmacs=None, gmacs_observation=None, top1=0.9) for m in (1, 2, 3)]
    write_rows(tmp_path / "runs", reference_row(), *bounds)
    command("runs")
    assert "- 3 upper bounds (best) appear in the table only." in Path("report/report.md").read_text()
    assert "stroke-dasharray" not in Path("report/report.html").read_text().partition('id="cost"')[2]
