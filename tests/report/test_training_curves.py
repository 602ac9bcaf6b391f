"""Training curves: a line for each run, which the page can highlight."""

import re
from pathlib import Path

import pytest

from dsn_lightning.report.collect import collect
from dsn_lightning.report.training_curves import training_curves
from helpers.report_files import write_run


@pytest.mark.parametrize(("count", "num_legend"), [(3, 3), (25, 1)])
def test_each_run_has_a_line_and_few_runs_have_a_legend(tmp_path: Path, count, num_legend):
    for i in range(count):
        write_run(tmp_path / f"run {i:02}")
    ((dataset, charts, legend),) = training_curves(collect([str(tmp_path)]).runs)
    assert dataset == "needle"
    assert [chart.title for chart in charts] == ["classifier's loss", "mean reward of the sampled clips"]
    for chart in charts:
        lines = re.findall(r'<g data-run="(run \d\d)"><title>(.*?)</title><path', chart.svg)
        assert [run for run, _ in lines] == [f"run {i:02}" for i in range(count)]
        assert lines[0][1].startswith("run 00: 0.")
        assert lines[0][1].endswith(" at epoch 3")
    assert len(legend) == num_legend
    assert ("stroke-opacity: 0.22" in charts[0].svg) == (count > 24)


def test_runs_after_the_eighth_have_dashed_lines(tmp_path: Path):
    for i in range(9):
        write_run(tmp_path / f"run {i}")
    ((_, charts, _),) = training_curves(collect([str(tmp_path)]).runs)
    styles = re.findall(r'<g data-run="run (\d)">.*?style="(.*?)"', charts[0].svg)
    assert [number for number, style in styles if "stroke-dasharray" in style] == ["8"]
    assert ["var(--c0)" in style for _, style in styles] == [i in (0, 8) for i in range(9)]


def test_infinite_values_are_left_out_and_a_single_value_is_a_dot(tmp_path: Path):
    run = write_run(tmp_path / "run")
    (run / "metrics.csv").write_text("epoch,train/classifier_loss\n0,inf\n1,1.5\n2,nan\n")
    ((_, (chart,), _),) = training_curves(collect([str(tmp_path)]).runs)
    assert "<title>run: 1.5 at epoch 1</title>" in chart.svg
    assert re.search(r'<g data-run="run">.*?<use ', chart.svg)


def test_the_note_counts_runs_without_the_figure(tmp_path: Path):
    write_run(tmp_path / "a")
    (write_run(tmp_path / "b") / "metrics.csv").write_text("epoch,train/classifier_loss\n0,1.5\n")
    ((_, (loss, reward), _),) = training_curves(collect([str(tmp_path)]).runs)
    assert (loss.note, reward.note) == ("", "not logged by 1 of 2 runs")
