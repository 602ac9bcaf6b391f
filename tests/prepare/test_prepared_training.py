"""From videos to results by the commands alone: prepare, train on small copies and on flow, join both streams."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from helpers.processes import call

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


@pytest.mark.slow
def test_copies_and_flow_are_trained_on_and_fused(class_folders: Path, tmp_path: Path):
    root = tmp_path / "videos"
    shutil.copytree(class_folders, root)
    where = ["dataset=folder", f"dataset.root={root}"]
    call("dsn-prepare", *where, "output=prepared", "steps=[check,transcode,flow]", cwd=tmp_path)
    read = [*where, "dataset.reading.prepared=prepared"]
    call("dsn-train", *read, *SHORT, "dataset.reading.copies=true", "hydra.run.dir=rgb", cwd=tmp_path)
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
