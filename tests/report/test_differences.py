"""Differences between methods: evaluations that differ in the seed are compared together, once."""

import json
import statistics
from pathlib import Path

import pytest

from dsn_lightning.config.comparisons import compare_folders
from dsn_lightning.evaluation import comparison_table
from helpers.evaluations import write_evaluations
from helpers.report_files import groups_of, row_of, write_rows

ABOVE_CHANCE: dict = {"at_chance": {}, "warnings": []}
"""What the statistics of the `runs`, which nobody has trained, would say if they had learned something."""


def test_differences_of_a_paper_table_are_shown(runs, command):
    content = compare_folders([runs / "seed0/evaluate"], number=200, others={"second": [runs / "seed1/evaluate"]})
    content |= ABOVE_CHANCE
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
    content = compare_folders(folders, number=200) | ABOVE_CHANCE
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


def test_a_network_at_chance_is_named_and_gives_no_findings(runs, command):
    folder = runs / "seed0/evaluate"
    content = compare_folders([folder], number=200) | ABOVE_CHANCE
    (folder / "statistics.json").write_text(json.dumps(content))
    _, page = command(folder)
    pairs = {(row["method"][0], row["minus"][0]) for row in page.rows("differences-1")}
    assert ("dsn (baseline's classifier)", "uniform") in pairs
    assert "What each class gains by" in page.text
    verdict = comparison_table.headroom_lines(content)[0]
    assert verdict in page.text

    names = ["dsn", "baseline"]
    messages = [f"{name}'s classifier is at chance: 12.5% of 4 classes on 8 videos" for name in names]
    guessing = content | {"at_chance": dict.fromkeys(names, 0.125), "warnings": messages}
    (folder / "statistics.json").write_text(json.dumps(guessing))
    _, page = command(folder)
    assert "differences-1" not in page.tables
    assert verdict not in page.text
    assert "What each class gains by" not in page.text
    text = Path("report/report.md").read_text().replace("\\", "")
    assert all(f"warning: {message}" in page.text and f"- warning: {message}" in text for message in messages)


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


def test_seeds_are_compared_together(tmp_path, command):
    runs = tmp_path / "runs"
    runs.mkdir()
    folders = write_evaluations(runs)
    out, page = command(runs)
    assert "statistics of seed0, seed1" in out
    rows = page.rows("differences-1")
    stored = [json.loads((folder / "results.json").read_text()) for folder in folders]
    top1 = [{(row["selection"], row["classifier"]): row["top1"] for row in rows} for rows in stored]
    gain = statistics.mean(rates["dsn", "baseline"] - rates["uniform", "baseline"] for rates in top1)
    text, value = next(row["top-1"] for row in rows if (row["method"][0], row["minus"][0]) == ("dsn", "uniform"))
    assert text.startswith(f"{100 * gain:+.1f} ± ")
    assert float(value) == pytest.approx(gain)
    assert "2000 resamples of the 24 test videos" in page.text
