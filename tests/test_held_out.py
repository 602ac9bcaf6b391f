"""Evaluating on the videos held out of training, and nothing else: what settings are chosen by."""

import json
from pathlib import Path

import pytest

from conftest import NEEDLE
from dsn_lightning.data.needle import Needle
from dsn_lightning.evaluation.scores import ClipScores
from processes import call
from table_process import load
from wandb_files import read_all

SMALL = [
    "schedule.max_epochs=1", "schedule.batch_size=4", "trainer.accelerator=cpu", "test.random_draws=2",
    "test.bootstrap=100", "progress=false", "M=2", "N=2",
]  # fmt: skip
RUN = "checkpoint=run/checkpoints/last.ckpt"


@pytest.fixture(scope="module")
def runs(needle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline that was trained and evaluated on the held-out videos, and one with fewer of them."""
    root = tmp_path_factory.mktemp("held_out")
    own = [f"dataset.root={needle_root}", *SMALL, "algorithm=baseline"]
    call("dsn-train", *own, *NEEDLE, "test.subset=val", "logger=wandb", "hydra.run.dir=run", cwd=root)
    fewer = [*NEEDLE[:1], "dataset.num_val=3", "dataset.num_test=6"]
    fewer_root = f"dataset.root={root / 'needle'}"
    call("dsn-train", *own, fewer_root, *fewer, "test.enabled=false", "hydra.run.dir=fewer", cwd=root)
    return root


def ids(folder: Path) -> set[str]:
    return {str(name) for name in ClipScores.load(folder / "clip_scores.npz").video_id}


def test_the_held_out_videos_are_evaluated_and_called_so(runs, needle_root):
    source = Needle(str(needle_root), num_train=12, num_val=6, num_test=6)
    held_out, test = ({r.video_id for r in source.records(subset)} for subset in ("val", "test"))
    assert ids(runs / "run") == held_out != test

    rows = json.loads((runs / "run" / "results.json").read_text())
    assert {row["dataset"] for row in rows} == {"needle_held_out"}
    assert {row["videos"] for row in rows} == {6}

    (logged,) = read_all(runs / "run")
    figures = [name for name in logged.summary if name.endswith("/M2/top1")]
    assert figures
    assert all(name.startswith("held_out/") for name in figures)
    assert logged.table("held_out/rows")


def test_dsn_evaluate_gives_the_same_and_the_test_videos_if_not_told(runs):
    done = call("dsn-evaluate", RUN, "test.subset=val", "hydra.run.dir=again",
                "test.random_draws=2", "selection=[uniform,dense,oracle]", cwd=runs)  # fmt: skip
    assert "needle_held_out, 6 held-out videos" in done.stdout
    assert ids(runs / "again") == ids(runs / "run")
    trained = {row["selection"]: row["map"] for row in json.loads((runs / "run" / "results.json").read_text())}
    for row in json.loads((runs / "again" / "results.json").read_text()):
        assert row["map"] == pytest.approx(trained[row["selection"]], abs=1e-6)

    call("dsn-evaluate", RUN, "hydra.run.dir=test", cwd=runs)
    assert not ids(runs / "test") & ids(runs / "run")
    rows = json.loads((runs / "test" / "results.json").read_text())
    assert {row["dataset"] for row in rows} == {"needle"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dsn-evaluate", RUN, "test.subset=train"], "test.subset=train: must be test"),
        (
            ["dsn-evaluate", RUN, "max_response=fewer/checkpoints/last.ckpt", "test.subset=val"],
            "was trained with dataset.num_val=3, asked for is 6: test.subset=val takes runs that hold out the same",
        ),
        (
            ["dsn-train", *NEEDLE, *SMALL, "test.subset=val", "algorithm=dsn_fixed",
             "classifier.checkpoint=fewer/checkpoints/last.ckpt"],
            "was trained with dataset.num_val=3, asked for is 6",
        ),
        (
            ["dsn-train", "dataset=folder", *SMALL, "test.subset=val", "algorithm=baseline"],
            "test.subset=val: dataset=folder holds no videos out of training",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_said_in_a_line(arguments, said, runs, needle_root, class_folders, tmp_path):
    if arguments[0] == "dsn-train":
        root = class_folders if "dataset=folder" in arguments else needle_root
        arguments = [*arguments, f"dataset.root={root}"]
    done = call(*arguments, f"hydra.run.dir={tmp_path / 'out'}", cwd=runs, expect=2)
    assert said in done.stderr
    assert len([line for line in done.stderr.splitlines() if not line.startswith("Indexing")]) == 1


def test_settings_are_chosen_on_held_out_videos(needle_root, tmp_path, capfd):
    """Three settings of a baseline; what is kept and called best are the figures of the evaluations themselves."""
    choose = load("choose").main
    own = ["dataset=needle", f"dataset.root={needle_root}", *NEEDLE, *SMALL, "backbone=r3d_tiny", "weights=null",
           "row=Baseline (uniform)", "seeds=0,1", "jobs=2", f"output={tmp_path}"]  # fmt: skip
    rates = ("0.03", "1e-9", "0.1")
    assert choose([*own, "settings=" + "; ".join(f"schedule.lr={rate}" for rate in rates)]) == 0
    kept = json.loads((tmp_path / "choose" / "needle_held_out_lr.json").read_text())
    assert (kept["dataset"], kept["videos"], kept["seeds"]) == ("needle_held_out", 6, [0, 1])

    found = {}
    for folder in (tmp_path / "evaluations").iterdir():
        if folder.is_dir():
            (row,) = (r for r in json.loads((folder / "results.json").read_text()) if r["selection"] == "uniform")
            found.setdefault(row["top1"], []).append(row["seed"])
    assert sum(map(len, found.values())) == 6
    means = {line["setting"]: line["top1"]["value"] for line in kept["settings"]}
    assert kept["best"] == max(means, key=lambda setting: means[setting])
    for line in kept["settings"]:
        assert all(value in found for value in line["top1"]["seeds"])
        if line["setting"] == kept["settings"][0]["setting"]:
            assert line["top1_less_first"] is None
        else:
            first = kept["settings"][0]["top1"]
            gains = [a - b for a, b in zip(line["top1"]["seeds"], first["seeds"], strict=True)]
            assert line["top1_less_first"]["seeds"] == pytest.approx(gains)
    out = capfd.readouterr().out
    assert f"best by top-1: {kept['best']}" in out
    assert "6 held-out videos" in (tmp_path / "choose" / "needle_held_out_lr.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["settings=schedule.lr=0.1"], "give two settings or more"),
        (["settings=schedule.lr=0.1; schedule.lr=0.1"], "give two settings or more, each once"),
        (["settings=M=1; M=2", "row=Best"], "row=Best: no such row; there are Baseline (random)"),
        (["settings=M=1; M=2", "rows=DSN"], "give row=NAME"),
        (["settings=seed=1; seed=2"], "seed=1: cannot be given to a table"),
    ],
)
def test_settings_that_make_no_sense(arguments, said, needle_root, capfd):
    assert load("choose").main(["dataset=needle", f"dataset.root={needle_root}", *NEEDLE, *arguments]) == 2
    assert said in capfd.readouterr().err
