"""Differences between methods: evaluations that differ in the seed are compared together, once."""

import json
import statistics
from pathlib import Path

import pytest

from dsn_lightning.config.comparisons import compare_folders
from dsn_lightning.evaluation import comparison_table
from helpers.report_files import groups_of, row_of, write_rows


def test_differences_of_a_paper_table_are_shown(runs, command):
    content = compare_folders([runs / "seed0/evaluate"], number=200, others={"second": [runs / "seed1/evaluate"]})
    folder = runs / "table1/differences"
    folder.mkdir(parents=True)
    (folder / "synthetic.json").write_text(json.dumps(content))
    (folder / "older.json").write_text(json.dumps({"about": {}, "differences": []}))
    out, page = command(runs, "statistics=0")
    assert "note: table1/differences/older.json: the statistics have an unknown format (KeyError: 'evaluations')" in out
    title = "synthetic, rgb, seed 0 (table1/differences/synthetic.json)"
    assert f"Differences: {title}" in Path("report/report.md").read_text().replace("\\", "")
    assert title in page.text
    assert f"methods without the name of a training belong to {runs}/seed0/evaluate and its other seeds" in page.text
    rows = {(row["method"][0], row["minus"][0]): row for row in page.rows("differences-1")}
    entry = next(
        difference
        for difference in content["differences"]
        if difference["method"]["selection"] == difference["other"]["selection"] == "dsn"
        and (difference["method"]["classifier"], difference["other"]["classifier"]) == ("dsn", "second:dsn")
    )
    cell = rows["dsn", "dsn of second"]["top-1"]
    assert cell == (comparison_table.points(entry["top1"]), repr(entry["top1"]["value"]))


def test_differences_of_a_paper_table_are_shown_once(runs, command):
    folders = [runs / "seed0/evaluate", runs / "seed1/evaluate"]
    content = compare_folders(folders, number=200)
    folder = runs / "table1/differences"
    folder.mkdir(parents=True)
    (folder / "synthetic.json").write_text(json.dumps(content))
    out, page = command(runs)
    assert "statistics of" not in out
    text = Path("report/report.md").read_text()
    assert text.count("## Differences: ") == 1
    assert "200 resamples of the 8 test videos" in page.text

    (folder / "synthetic.json").write_text(json.dumps({"about": {"evaluations": 3}, "differences": []}))
    command(runs)
    text = Path("report/report.md").read_text().replace("\\", "")
    assert "## Differences: synthetic, rgb, seeds 0, 1 (seed0/evaluate and its other seeds)" in text


def test_samplers_with_one_baseline_are_compared_together(tmp_path):
    for seed in (0, 1, 2):
        folder = tmp_path / f"methods_seed{seed}"
        baseline_row = row_of(selection="uniform", classifier="baseline", seed=0, top1=0.5)
        write_rows(folder, baseline_row, row_of(seed=seed, top1=0.6 + 0.1 * seed))
        (folder / "clip_scores.npz").write_bytes(b"")
    (group,) = groups_of(tmp_path)
    assert [path.name for path in group] == ["methods_seed0", "methods_seed1", "methods_seed2"]


def test_trainings_that_differ_in_folder_only_are_two_groups(tmp_path):
    for name in ("earlier", "later"):
        for seed in (0, 1):
            folder = tmp_path / f"{name}/methods_seed{seed}"
            write_rows(folder, row_of(seed=seed, top1=0.4 if name == "later" else 0.5 + 0.1 * seed))
            (folder / "clip_scores.npz").write_bytes(b"")
    groups = groups_of(tmp_path)
    assert [[path.parent.name for path in group] for group in groups] == [["earlier"] * 2, ["later"] * 2]


def test_seeds_are_compared_together(runs, command):
    out, page = command(runs)
    assert "statistics of seed0/evaluate, seed1/evaluate" in out
    rows = page.rows("differences-1")
    stored = [json.loads((runs / f"seed{seed}/evaluate/results.json").read_text()) for seed in (0, 1)]
    top1 = [{(row["selection"], row["classifier"]): row["top1"] for row in rows} for rows in stored]
    gain = statistics.mean(rates["dsn", "baseline"] - rates["uniform", "baseline"] for rates in top1)
    text, value = next(
        row["top-1"]
        for row in rows
        if (row["method"][0], row["minus"][0]) == ("dsn (baseline's classifier)", "uniform")
    )
    assert text.startswith(f"{100 * gain:+.1f} ± ")
    assert float(value) == pytest.approx(gain)
    assert "2000 resamples of the 8 test videos" in page.text
