"""Settings are compared on held-out videos."""

import json

import pytest

import choose
from conftest import NEEDLE
from helpers.processes import call

SMALL = [
    "schedule.max_epochs=1",
    "schedule.batch_size=4",
    "trainer.accelerator=cpu",
    "test.random_draws=2",
    "test.figures=false",
    "test.bootstrap=100",
    "progress=false",
    "M=2",
    "N=2",
]


@pytest.mark.slow
def test_settings_are_chosen_on_held_out_videos(needle_root, tmp_path, capfd):
    """Two settings of a baseline; the figures that are kept and compared are those of the evaluations."""
    arguments = [
        "dataset=needle",
        f"dataset.root={needle_root}",
        *NEEDLE,
        *SMALL,
        "backbone=r3d_tiny",
        "weights=null",
        "row=Baseline (uniform)",
        "seeds=0,1",
        "jobs=2",
        f"output={tmp_path}",
    ]
    rates = ("1e-9", "0.03")
    assert choose.main([*arguments, "settings=" + "; ".join(f"schedule.lr={rate}" for rate in rates)]) == 0
    kept = json.loads((tmp_path / "choose" / "needle_held_out_rgb_r3d_tiny_uniform_lr.json").read_text())
    assert (kept["dataset"], kept["seeds"]) == ("needle_held_out", [0, 1])

    found: dict[str, list] = {f"schedule.lr={rate}": [None, None] for rate in rates}
    for run in tmp_path.glob("runs/*/checkpoints/last.ckpt"):  # evaluated again, one by one
        cfg = json.loads((run.parents[1] / "config.json").read_text())
        out = tmp_path / "anew" / run.parents[1].name
        call(
            "dsn-evaluate",
            f"checkpoint={run}",
            "test.subset=val",
            "selection=[uniform]",
            f"hydra.run.dir={out}",
            "test.bootstrap=0",
            cwd=tmp_path,
        )
        (row,) = json.loads((out / "results.json").read_text())
        setting = next(s for s in found if float(s.partition("=")[2]) == cfg["schedule"]["lr"])
        found[setting][cfg["seed"]] = row["map"]
    means = {line["setting"]: line["top1"]["value"] for line in kept["settings"]}
    assert kept["best"] == max(means, key=lambda setting: means[setting])
    for line in kept["settings"]:
        assert line["map"]["seeds"] == pytest.approx(found[line["setting"]], abs=1e-6)
        if line["setting"] == kept["settings"][0]["setting"]:
            assert line["top1_less_first"] is None
        else:
            first = kept["settings"][0]["top1"]
            gains = [a - b for a, b in zip(line["top1"]["seeds"], first["seeds"], strict=True)]
            assert line["top1_less_first"]["seeds"] == pytest.approx(gains)
    out = capfd.readouterr().out
    assert f"best by top-1: {kept['best']}" in out
    assert "6 held-out videos" in (tmp_path / "choose" / "needle_held_out_rgb_r3d_tiny_uniform_lr.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["settings=schedule.lr=0.1"], "needs at least two settings"),
        (["settings=schedule.lr=0.1; schedule.lr=0.1"], "needs at least two settings, each once"),
        (["settings=M=1; M=2", "row=Best"], "row=Best: unknown; the table's rows are Baseline (random)"),
        (["settings=M=1; M=2", "rows=DSN"], "use row=NAME"),
        (["settings=dataset.val_fraction=0.1; dataset.val_fraction=0.2"], "dataset.val_fraction= decides what is eval"),
        (["settings=M=1; M=2", "dataset=folder", "dataset.num_train=1"], "num_train"),
        (["settings=seed=1; seed=2"], "seed=1: a table does not take this key"),
    ],
)
def test_wrong_settings_give_a_message(arguments, message, needle_root, capfd):
    assert choose.main(["dataset=needle", f"dataset.root={needle_root}", *NEEDLE, *arguments]) == 2
    assert message in capfd.readouterr().err
