"""Evaluating on the videos held out of training, and nothing else: what settings are chosen by."""

import json
from pathlib import Path

import pytest
import torch

from conftest import NEEDLE
from dsn_lightning.config.build import check_holds_out
from dsn_lightning.config.trained import RECORD_KEY
from dsn_lightning.datasets.needle import Needle
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.training.seen_videos import hashes_of
from helpers.processes import call
from helpers.synthetic import composed
from helpers.wandb_files import read_all

SMALL = [
    "schedule.max_epochs=1", "schedule.batch_size=4", "trainer.accelerator=cpu", "test.random_draws=2",
    "test.figures=false", "test.bootstrap=100", "progress=false", "M=2", "N=2",
]  # fmt: skip
KEY = "trained_on"
RUN = "checkpoint=run/checkpoints/last.ckpt"
STARTS = "what this training starts from, or its own videos: was trained on 3 of the 6 held-out videos"


@pytest.fixture(scope="module")
def runs(needle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline that was evaluated on its held-out videos, and one that was trained on half of them, too."""
    root = tmp_path_factory.mktemp("held_out")
    own = [f"dataset.root={needle_root}", *NEEDLE, *SMALL]
    call("dsn-train", *own, "algorithm=baseline", "test.subset=val", "logger=wandb", "hydra.run.dir=run", cwd=root)
    content = torch.load(root / "run/checkpoints/last.ckpt", weights_only=True)
    torch.save(content | {RECORD_KEY: {k: v for k, v in content[RECORD_KEY].items() if k != KEY}}, root / "older.ckpt")
    (root / "fewer/checkpoints").mkdir(parents=True)
    some = hashes_of([*ids_of(needle_root, "train"), *ids_of(needle_root, "val")[:3]])
    torch.save(content | {RECORD_KEY: content[RECORD_KEY] | {KEY: some}}, root / "fewer/checkpoints/last.ckpt")
    call("dsn-train", *own, "algorithm=dsn_fixed", "classifier.checkpoint=fewer/checkpoints/last.ckpt",
         "test.enabled=false", "hydra.run.dir=fixed", cwd=root)  # fmt: skip
    return root


def ids_of(needle_root: Path, subset: str) -> list[str]:
    return [r.video_id for r in Needle(str(needle_root), num_train=12, num_val=6, num_test=6).records(subset)]


def trained_on(run: Path) -> torch.Tensor:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)[RECORD_KEY][KEY]


def ids(folder: Path) -> set[str]:
    return {str(name) for name in ClipScores.load(folder / "clip_scores.npz").video_id}


def test_the_held_out_videos_are_evaluated_and_called_so(runs, needle_root):
    assert ids(runs / "run") == {*ids_of(needle_root, "val")} != {*ids_of(needle_root, "test")}
    assert torch.equal(trained_on(runs / "run"), hashes_of(ids_of(needle_root, "train")))

    rows = json.loads((runs / "run" / "results.json").read_text())
    assert {row["dataset"] for row in rows} == {"needle_held_out"}
    assert {row["videos"] for row in rows} == {6}

    (logged,) = read_all(runs / "run")
    figures = [name for name in logged.summary if name.endswith("/M2/top1")]
    assert figures
    assert all(name.startswith("held_out/") for name in figures)
    assert logged.table("held_out/rows")


def test_dsn_evaluate_gives_the_same_and_the_test_videos_if_not_told(runs, needle_root):
    done = call("dsn-evaluate", RUN, "test.subset=val", "hydra.run.dir=again",
                "test.random_draws=2", "selection=[uniform,dense,oracle]", cwd=runs)  # fmt: skip
    assert "needle_held_out, 6 held-out videos" in done.stdout
    assert ids(runs / "again") == ids(runs / "run")
    trained = {row["selection"]: row["map"] for row in json.loads((runs / "run" / "results.json").read_text())}
    for row in json.loads((runs / "again" / "results.json").read_text()):
        assert row["map"] == pytest.approx(trained[row["selection"]], abs=1e-6)

    content = torch.load(runs / "run/checkpoints/last.ckpt", weights_only=True)
    seen = content | {RECORD_KEY: content[RECORD_KEY] | {KEY: hashes_of(ids_of(needle_root, "test")[:2])}}
    torch.save(seen, runs / "seen.ckpt")
    done = call("dsn-evaluate", RUN, "max_response=seen.ckpt", "hydra.run.dir=test", cwd=runs)
    (warning,) = [line for line in done.stdout.splitlines() if line.startswith("warning: ") and "seen.ckpt" in line]
    assert "max_response=" in warning
    assert "was trained on 2 of the 6 test videos" in warning
    assert not ids(runs / "test") & ids(runs / "run")
    rows = json.loads((runs / "test" / "results.json").read_text())
    assert {row["dataset"] for row in rows} == {"needle"}


def test_a_data_set_is_made_before_it_is_asked_what_it_holds_out(tmp_path):
    source = Needle(str(tmp_path / "needle"), num_train=1, num_val=1, num_test=1)
    settings = composed("test.subset=val", f"dataset.reading.prepared={tmp_path / 'prepared'}")
    check_holds_out(source, settings)
    assert len(source.records("val")) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dsn-evaluate", RUN, "test.subset=train"], "test.subset=train: must be test"),
        (
            ["dsn-evaluate", RUN, "max_response=fewer/checkpoints/last.ckpt", "test.subset=val"],
            "last.ckpt: was trained on 3 of the 6 held-out videos, or began from what was (",
        ),
        (  # a classifier that was trained on them, in a run that was not
            ["dsn-evaluate", "checkpoint=fixed/checkpoints/last.ckpt", "test.subset=val"],
            "last.ckpt: was trained on 3 of the 6 held-out videos",
        ),
        (["dsn-train", *SMALL, "algorithm=dsn_fixed", "classifier.checkpoint=fewer/checkpoints/last.ckpt"], STARTS),
        (["dsn-train", *SMALL, "algorithm=baseline", "weights=fewer/checkpoints/last.ckpt"], STARTS),
        (
            ["dsn-train", *SMALL, "algorithm.warmup_epochs=0", "test.baseline=fewer/checkpoints/last.ckpt"],
            "last.ckpt: was trained on 3 of the 6 held-out videos",
        ),
        (
            ["dsn-train", *SMALL, "algorithm=baseline", "weights=older.ckpt"],
            "does not say which videos it was trained on (it, or what it began from, is of an earlier version)",
        ),
        (
            ["dsn-train", "dataset=folder", "recipe=none", *SMALL, "algorithm=baseline"],
            "test.subset=val: dataset=folder has no held-out videos",
        ),
        (["dsn-evaluate", "fusion=[run,run]", "test.subset=val"], "test.subset=val: does not apply to fusion="),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_said_in_a_line(arguments, said, runs, needle_root, class_folders, tmp_path):
    if "dataset=folder" in arguments:
        arguments = [*arguments, "test.subset=val", f"dataset.root={class_folders}"]
    elif arguments[0] == "dsn-train":
        arguments = [*arguments, "test.subset=val", *NEEDLE, f"dataset.root={needle_root}"]
    done = call(*arguments, f"hydra.run.dir={tmp_path / 'out'}", cwd=runs, expect=2)
    assert said in done.stderr
    assert len([line for line in done.stderr.splitlines() if not line.startswith("Indexing")]) == 1
    assert not list(tmp_path.glob("out/checkpoints/*"))


def test_a_resumed_run_still_says_what_it_began_from(runs, needle_root, tmp_path):
    (tmp_path / "fewer").symlink_to(runs / "fewer")
    own = [f"dataset.root={needle_root}", *NEEDLE, *SMALL, "algorithm=dsn_fixed", "test.enabled=false",
           "classifier.checkpoint=fewer/checkpoints/last.ckpt", "schedule.max_epochs=2"]  # fmt: skip
    call("dsn-train", *own, "trainer.max_time=00:00:00:00", "hydra.run.dir=run", cwd=tmp_path, expect=None)
    before = trained_on(tmp_path / "run")
    progress = tmp_path / "run/progress.json"
    assert not progress.is_file() or json.loads(progress.read_text())["epoch"] < 2
    call("dsn-train", "resume=run", "trainer.max_time=01:00:00:00", cwd=tmp_path)
    assert json.loads(progress.read_text())["epoch"] == 2
    assert torch.equal(trained_on(tmp_path / "run"), before)
    assert torch.equal(before, hashes_of([*ids_of(needle_root, "train"), *ids_of(needle_root, "val")[:3]]))
