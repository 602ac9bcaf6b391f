"""The mean over official splits: by hand, and at the end of a sweep."""

import csv
import json
from pathlib import Path

import pytest
from rich.console import Console

from dsn_lightning.evaluation.results import FIELDS
from dsn_lightning.evaluation.splits import mean_over_splits
from dsn_lightning.launch.sweep import show_means_over_splits
from dsn_lightning.runs import SweepFolder
from dsn_lightning.runs.sweep_folder import SweepJob, SweepRecord


def row(split: int | None, seed: int, top1: float, **more: object) -> dict[str, object]:
    """A row of results.json with the fields that matter here."""
    base = {
        "dataset": "ucf101",
        "selection": "dsn",
        "classifier": "dsn",
        "M": 3,
        "N": 3,
        "hit_rate": None,
        "gmacs": 2.0,
    }
    return base | {"split": split, "seed": seed, "top1": top1, "videos": 10, "videos_missing": split} | more


def test_splits_are_averaged_before_seeds():
    rows = [row(1, 0, 0.2), row(2, 0, 0.4), row(3, 0, 0.6), row(1, 1, 0.5), row(2, 1, 0.6), row(3, 1, 0.7)]
    (mean,) = mean_over_splits(rows)
    assert mean["top1"] == pytest.approx(0.5)  # of 0.4 and 0.6
    assert mean["top1_std"] == pytest.approx(0.02**0.5)
    assert (mean["splits"], mean["seeds"]) == ("1 2 3", "0 1")
    assert (mean["gmacs"], mean["hit_rate"], mean["hit_rate_std"]) == (2.0, None, None)
    assert (mean["videos"], mean["videos_missing"]) == (30, 6)
    assert "split" not in mean
    assert "seed" not in mean


def test_one_seed_has_no_spread():
    (mean,) = mean_over_splits([row(1, 0, 0.25), row(2, 0, 0.75)])
    assert (mean["top1"], mean["top1_std"], mean["seeds"]) == (0.5, None, "0")


def test_only_rows_with_equal_descriptions_are_averaged():
    settings = (("dsn", 0.5, 0.2), ("dsn", 1.0, 0.4), ("uniform", None, 0.6))
    rows = [
        row(split, 0, top1 + split / 10, selection=name, gamma=gamma)
        for split in (1, 2)
        for name, gamma, top1 in settings
    ]
    means = mean_over_splits(rows)
    assert [(mean["selection"], mean["gamma"], round(mean["top1"], 6)) for mean in means] == [
        ("dsn", 0.5, 0.35),
        ("dsn", 1.0, 0.55),
        ("uniform", None, 0.75),
    ]


def test_a_seed_without_results_on_every_split_is_ignored():
    rows = [row(1, 0, 0.2), row(2, 0, 0.4), row(1, 1, 0.9)]
    (mean,) = mean_over_splits(rows)
    assert (mean["top1"], mean["seeds"]) == (pytest.approx(0.3), "0")
    assert mean_over_splits([*rows, row(3, 1, 0.9)]) == []
    assert mean_over_splits(rows, required=(1, 2, 3)) == []


def test_rows_without_splits_have_no_mean():
    assert mean_over_splits([row(None, 0, 0.2), row(None, 1, 0.4)]) == []
    assert mean_over_splits([row(1, 0, 0.2), row(1, 1, 0.4)]) == []


def finished_sweep(folder: Path, jobs: dict[str, list[dict[str, object]] | None]) -> Path:
    """A sweep whose jobs have all ended: overrides -> rows of results, None of a failed one."""
    record = []
    for number, (overrides, rows) in enumerate(jobs.items()):
        state = "failed" if rows is None else "done"
        record.append(SweepJob(["dataset=ucf101", *overrides.split()], str(number), state, exit_code=0))
        (folder / str(number)).mkdir(parents=True)
        if rows is not None:
            (folder / str(number) / "results.json").write_text(
                json.dumps([{**dict.fromkeys(FIELDS), **row} for row in rows])
            )
    SweepFolder(folder).write(SweepRecord(record))
    return folder


def test_a_sweep_averages_each_of_its_settings_apart(tmp_path, capsys):
    """Two rates, which no row names, must not be mixed."""
    jobs = {
        f"dataset.split={split} schedule.lr={lr} seed=0": [row(split, 0, top1 + split / 100)]
        for lr, top1 in ((0.1, 0.3), (0.01, 0.5))
        for split in (1, 2, 3)
    }
    sweep = finished_sweep(tmp_path / "sweep", jobs)
    show_means_over_splits(SweepFolder(sweep), Console(width=200))
    means = list(csv.DictReader((sweep / "mean_over_splits.csv").read_text().splitlines()))
    assert [(mean["settings"], round(float(mean["top1"]), 6)) for mean in means] == [
        ("schedule.lr=0.1", 0.32),
        ("schedule.lr=0.01", 0.52),
    ]
    shown = capsys.readouterr().out
    assert "means over splits" in shown
    assert "52.0" in shown


def test_no_mean_is_shown_without_a_split(tmp_path, capsys):
    jobs: dict[str, list[dict[str, object]] | None] = {
        "dataset.split=1 seed=0": [row(1, 0, 0.2)],
        "dataset.split=2 seed=0": [row(2, 0, 0.4)],
        "dataset.split=3 seed=0": None,
    }
    sweep = finished_sweep(tmp_path / "sweep", jobs)
    show_means_over_splits(SweepFolder(sweep), Console(width=200))
    assert not (sweep / "mean_over_splits.csv").exists()
    assert "left out of the means over splits (no split 3): ucf101 seed=0" in capsys.readouterr().out
