"""The tables of a report: figures equal those of the runs, the paper is beside them."""

import csv
import json
import statistics
from collections import Counter
from pathlib import Path

import pytest

from helpers.report_files import reference_row, row_of, write_basis, write_rows


def identity(row: dict) -> tuple:
    return row["selection"], row["classifier"], int(row["M"]), int(row["clips"])


def test_tables_show_the_figures_of_the_results(runs, command):
    _, page = command(runs)
    stored = [json.loads((runs / f"seed{seed}/evaluate/results.json").read_text()) for seed in (0, 1)]
    assert len(stored[0]) == len(stored[1]) > 8
    expected = Counter()
    for first, second in zip(*stored, strict=True):
        pair = [first["top1"], second["top1"]]
        expected[f"{100 * statistics.mean(pair):.1f} ± {100 * statistics.stdev(pair):.1f}"] += 1
    assert Counter(row["top-1"][0] for row in page.rows("results-table")) == expected
    assert {row["seeds"][0] for row in page.rows("results-table")} == {"0, 1"}
    markdown = Path("report/report.md").read_text()
    assert all(markdown.count(text) >= number for text, number in expected.items())
    with Path("report/report.csv").open() as file:
        lines = list(csv.DictReader(file))
    for line, first, second in zip(
        sorted(lines, key=identity), *(sorted(s, key=identity) for s in stored), strict=True
    ):
        assert float(line["top1"]) == statistics.mean([first["top1"], second["top1"]])
        assert float(line["map_std"]) == pytest.approx(statistics.stdev([first["map"], second["map"]]), abs=1e-15)
        assert line["gmacs"] == ("" if first["gmacs"] is None else str(first["gmacs"]))


def test_rows_of_the_paper_appear_beside_ours(tmp_path, command):
    small = {"backbone": "mobilenet_v2", "observation": "mobilenet_v2"}
    runs = tmp_path / "runs"
    hmdb51 = write_rows(
        runs / "hmdb51",
        row_of(top1=0.6),
        row_of(M=4, clips=4, top1=0.61, gmacs=104.0),
        reference_row(clips=10, backbone="mobilenet_v2"),
        row_of(selection="uniform"),  # DSN's classifier: in no table
        reference_row(clips=10, M=2, backbone="r2plus1d_34", top1=0.755),
        reference_row(clips=5, M=5),
    )
    write_basis(hmdb51, classes=51)
    activitynet = row_of(dataset="activitynet", split=None, M=6, train_M=6, top1=0.7, **small)
    write_basis(write_rows(runs / "activitynet", activitynet), classes=200)
    thumos14 = write_rows(
        runs / "thumos14",
        row_of(dataset="thumos14", split=None, M=6, train_M=6, clips=6, map=0.74),  # of Table I's training set or V's
        reference_row(dataset="thumos14", split=None, clips=20, M=6, train_M=1, map=0.65),
    )
    write_basis(thumos14, classes=101)
    _, page = command("runs")
    columns = ("paper", "ours - paper", "paper's row", "paper's GMACs")
    found = {
        (row["data set"][0], row["selection"][0], row["M:N"][0]): tuple(row[name][0] for name in columns)
        for row in page.rows("results-table")
    }
    assert found == {
        ("hmdb51", "dsn", "1:3"): ("59.5", "+0.5", "Table I, DSN", "-"),
        ("hmdb51", "dsn", "4:3"): ("60.9", "+0.1", "Table III, R3D & DSN (M = 1)", "104.6"),
        ("hmdb51", "dense", "1:3"): ("59.5", "-9.5", "Table I, Dense sampling", "-"),
        ("hmdb51", "dense", "2:3"): ("75.5", "+0.0", "Table III, R(2+1)D", "1529"),
        ("hmdb51", "dense", "5:3"): ("-", "-", "-", "-"),
        ("thumos14", "dsn", "6:3"): ("72.6; 75.2", "+1.4; -1.2", "Table I, DSN; Table V, R3D-RGB & DSN (M = 6)", "-"),
        ("thumos14", "dense", "6:3"): ("65.6", "-0.6", "Table I, Dense sampling", "-"),
        ("hmdb51", "uniform (dsn's classifier)", "1:3"): ("-", "-", "-", "-"),
        ("activitynet", "dsn", "6:3"): ("66.7", "+3.3", "Table I, DSN", "-"),
    }
    assert "those of Table I are for R3D-18, ResNet2D-18" in page.text
    lines = list(csv.DictReader(Path("report/report.csv").read_text().splitlines()))
    (either,) = [line for line in lines if (line["dataset"], line["selection"]) == ("thumos14", "dsn")]
    assert (either["paper"], either["ours_minus_paper"]) == ("", "")


def test_a_difference_says_what_it_stands_on_or_is_withheld(tmp_path, command):
    """HMDB51 with all its classes, with 12 of them, and without a record of what it was trained on."""
    whole = write_rows(tmp_path / "runs" / "whole", row_of(top1=0.6))
    write_basis(whole, classes=51, started_from="IG-65M, then Kinetics-400")
    few = write_rows(tmp_path / "runs" / "few", row_of(top1=0.7, gamma=1.0))
    write_basis(few, classes=12)
    write_rows(tmp_path / "runs" / "unknown", row_of(top1=0.8, gamma=2.0))
    _, page = command("runs")
    names = ("ours - paper", "trained and tested on", "started from")
    rows = {row["gamma"][0]: tuple(row[name][0] for name in names) for row in page.rows("results-table")}
    counts = "84 of 3570 videos, {0} of 51 classes"
    text = f"trained on {counts}; tested on {counts}"
    assert rows == {
        "0.5": ("+0.5", text.format(51), "IG-65M, then Kinetics-400; sampler: imagenet"),
        "1": ("withheld: trained on 12 classes, the paper on 51", text.format(12), "kinetics400; sampler: imagenet"),
        "2": ("withheld: what it was trained on is not recorded", "not recorded", "-"),
    }
    lines = list(csv.DictReader(Path("report/report.csv").read_text().splitlines()))
    assert {line["gamma"]: line["ours_minus_paper"] != "" for line in lines} == {
        "0.5": True,
        "1.0": False,
        "2.0": False,
    }
