"""From videos to results by the commands alone: prepare, train on small copies and on flow, join both streams."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dsn_lightning.config.build import build_datamodule
from dsn_lightning.data.batches import Draw
from dsn_lightning.datasets.folder import Folder
from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.copy_kinds import FrameCopy
from dsn_lightning.prepare.preparation import prepare_dataset
from dsn_lightning.video.pyav_decoder import PyAV
from helpers.processes import call
from helpers.synthetic import composed
from helpers.trained_runs import assert_same_run

SHORT = [
    "recipe=none",
    "schedule.max_epochs=1",
    "schedule.batch_size=3",
    "algorithm=baseline",
    "M=2",
    "trainer.accelerator=cpu",
    "test.random_draws=2",
    "test.figures=false",
]


@pytest.mark.parametrize("resize", ["short_side", "squash", "letterbox"])
def test_frames_give_the_clips_of_the_files(resize, class_folders, tmp_path):
    """Training clips of stored frames have the windows of those of the files, and nearly their pixels."""
    prepared = f"dataset.reading.prepared={tmp_path / 'out'}"
    where = ["dataset=folder", f"dataset.root={class_folders}", prepared, "M=2", "N=2"]
    where += [f"dataset.reading.resize={resize}", "backbone.frame_size=[36,50]", "dataset.reading.flip=0.5"]

    def clips(*overrides):
        data = build_datamodule(composed(*where, *overrides))
        data.prepare_data()
        data.setup()
        return data, [item["clips"] for item in (data.section_clips("train")[Draw(0, i)] for i in range(4))]

    with pytest.raises(UsageError, match=r"no frames in .*; run dsn-prepare steps=\[check,frames\]"):
        clips("dataset.reading.copies=frames")
    for quality, size in ((100, (36, 50)), (90, (34, 50))):
        kind = FrameCopy(size, resize, quality)
        options = {"decoder": PyAV(), "copy_decoder": PyAV(), "output": tmp_path / "out"}
        prepare_dataset(Folder(str(class_folders)), [kind], **options)
        if size == (36, 50):
            _, files = clips()
            data, frames = clips("dataset.reading.copies=frames")
            assert "quality=100" in data.copies_made_with
            assert all(video.file.suffix == ".mov" for video in data.videos("train"))
            for a, b in zip(files, frames, strict=True):
                assert np.abs(a.numpy().astype(int) - b.numpy()).mean() < 3
    with pytest.raises(UsageError, match="are wanted; run dsn-prepare"):
        clips("dataset.reading.copies=frames")


def test_shards_train_and_test_as_the_single_files(class_folders, tmp_path):
    """The same bits in two processes (DDP), those with shards with a loader process each."""
    prepared, size = tmp_path / "prepared", ["backbone.frame_size=[36,48]", "backbone.crop_size=32"]
    read = ["dataset=folder", f"dataset.root={class_folders}", f"dataset.reading.prepared={prepared}", *size, "M=2"]
    read += ["dataset.reading.copies=frames"]
    runs = {"single": ["num_workers=0"], "sharded": ["num_workers=1", "start_workers=fork"]}
    for name, workers in runs.items():
        options = {"decoder": PyAV(), "copy_decoder": PyAV(), "output": prepared, "jobs": 1}
        shard_size = 10**6 if name == "sharded" else None
        prepare_dataset(
            Folder(str(class_folders)), [FrameCopy((36, 48), "short_side")], **options, shard_size=shard_size
        )
        assert bool(list(prepared.rglob("*.mov"))) == (name == "single")
        call("dsn-train", *read, *SHORT, *workers, "trainer.devices=2", f"hydra.run.dir={name}", cwd=tmp_path)
    assert_same_run(tmp_path / "sharded", tmp_path / "single")
    assert result_rows(tmp_path / "sharded") == result_rows(tmp_path / "single")
    index = prepared / "jpeg" / "shard-000000.json"
    index.write_text("{")
    with pytest.raises(
        UsageError, match=r"shard-000000\.json: is a damaged index of a shard .*; run dsn-prepare again"
    ):
        build_datamodule(composed(*read)).setup()
    index.unlink()
    with pytest.raises(UsageError, match=r"no frames in .*; run dsn-prepare steps=\[check,frames\]"):
        build_datamodule(composed(*read)).setup()


def result_rows(run: Path) -> list[dict]:
    """The rows of results.json, without the times."""
    rows = json.loads((run / "results.json").read_text())
    return [{name: value for name, value in row.items() if name != "seconds_per_video"} for row in rows]


def test_copies_true_is_refused(class_folders):
    with pytest.raises(UsageError, match="copies=true: must be false, small or frames"):
        composed("dataset=folder", f"dataset.root={class_folders}", "dataset.reading.copies=true")


@pytest.mark.slow
def test_copies_and_flow_are_trained_on_and_fused(class_folders: Path, tmp_path: Path):
    root = tmp_path / "videos"
    shutil.copytree(class_folders, root)
    where = ["dataset=folder", f"dataset.root={root}"]
    call("dsn-prepare", *where, "output=prepared", "steps=[check,transcode,flow]", cwd=tmp_path)
    read = [*where, "dataset.reading.prepared=prepared"]
    call("dsn-train", *read, *SHORT, "dataset.reading.copies=small", "hydra.run.dir=rgb", cwd=tmp_path)
    call(
        "dsn-train",
        *read,
        *SHORT,
        "dataset.modality=flow",
        "hydra.run.dir=flow",
        "classifier.checkpoint=rgb/checkpoints/last.ckpt",
        cwd=tmp_path,
    )
    call("dsn-evaluate", "fusion=[rgb,flow]", "hydra.run.dir=both", cwd=tmp_path)
    rows = {name: json.loads((tmp_path / name / "results.json").read_text()) for name in ("rgb", "flow", "both")}
    assert [{row["modality"] for row in rows[name]} for name in rows] == [{"rgb"}, {"flow"}, {"rgb+flow"}]
    uniform = {name: next(r for r in results if r["selection"] == "uniform") for name, results in rows.items()}
    assert uniform["both"]["gmacs"] == uniform["rgb"]["gmacs"] + uniform["flow"]["gmacs"]
    assert uniform["flow"]["gmacs"] < uniform["rgb"]["gmacs"]
    with open(tmp_path / "flow" / "metrics.csv") as file:
        assert len(list(csv.DictReader(file))) == 1
    done = call(
        "dsn-train", *where, *SHORT, "dataset.modality=flow", "dataset.reading.prepared=nowhere", cwd=tmp_path, expect=2
    )
    assert "nowhere; run dsn-prepare steps=[check,flow]" in done.stderr
    (root / "walk" / "ann_walk.mp4").write_bytes((root / "run" / "dee_run.mp4").read_bytes())
    call(
        "dsn-train",
        *read,
        *SHORT,
        "dataset.modality=flow",
        "dataset.reading.max_bad=1",
        "hydra.run.dir=changed",
        cwd=tmp_path,
    )
    videos = json.loads((tmp_path / "changed" / "videos.json").read_text())
    failed = {k: v for part in videos.values() for k, v in part["failed"].items()}
    assert list(failed) == ["walk/ann_walk.mp4"]
    assert "made before its original changed" in failed["walk/ann_walk.mp4"]
    call("dsn-prepare", *where, "output=prepared", "steps=[check]", cwd=tmp_path)
    flow = next((tmp_path / "prepared" / "flow").rglob("bob_walk*"))
    flow.unlink()
    call("dsn-prepare", *where, "output=other", "steps=[check,flow]", "flow.bound=10", cwd=tmp_path)
    shutil.copy(next((tmp_path / "other" / "flow").rglob("bob_walk*")), flow)
    done = call("dsn-train", *read, *SHORT, "dataset.modality=flow", cwd=tmp_path, expect=2)
    assert "copies with different settings" in done.stderr
