"""Every data set in its own layout, with every algorithm: a training step and a test through the command line."""

import json
from pathlib import Path

import pytest

from conftest import NEEDLE
from dsn_lightning.commands.compose import compose_anew
from helpers.dataset_files import fill, write_activitynet, write_hmdb51, write_thumos14, write_ucf101
from helpers.processes import call

LAYOUTS = {"ucf101": write_ucf101, "hmdb51": write_hmdb51, "thumos14": write_thumos14, "activitynet": write_activitynet}
STEP = [
    "backbone=r3d_tiny", "schedule.max_epochs=1", "schedule.batch_size=2", "trainer.accelerator=cpu", "M=2", "N=2",
    "+trainer.limit_train_batches=1", "test.random_draws=2", "test.figures=false", "progress=false",
    "shared.folder=shared", "dataset.reading.scales=[1.0]", "dataset.reading.max_bad=1",
]  # fmt: skip
ALGORITHMS = {
    "baseline": ["algorithm=baseline"],
    "dsn": ["algorithm=dsn", "algorithm.warmup_epochs=0"],
    "dsn_fixed": ["algorithm=dsn_fixed", "classifier.checkpoint=auto"],
}


def keys(dataset: str, root: Path) -> list[str]:
    own = [f"dataset={dataset}", f"dataset.root={root}"]
    if dataset.startswith("needle"):
        own += NEEDLE
    if dataset == "thumos14_all":
        own.append(f"dataset.ucf101_root={root / 'ucf101'}")
    return own


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory, class_folders: Path, needle_root: Path) -> dict[str, Path]:
    """A small copy of each data set, two or three videos of each subset."""
    found = {"folder": class_folders, "needle": needle_root, "needle_everywhere": needle_root}
    for name, write in LAYOUTS.items():
        root = tmp_path_factory.mktemp(name)
        write(root)
        found[name] = root
        fill(compose_anew("train", *keys(name, root), "run_dir=none").dataset)
    write_ucf101(found["thumos14"] / "ucf101")
    found["thumos14_all"] = found["thumos14"]
    fill(compose_anew("train", *keys("thumos14_all", found["thumos14"]), "run_dir=none").dataset)
    return found


def names() -> list[str]:
    conf = Path(__file__).resolve().parents[2] / "conf" / "dataset"
    return sorted(path.stem for path in conf.glob("*.yaml"))


@pytest.mark.parametrize(
    ("dataset", "algorithm"),
    [
        pytest.param(dataset, algorithm, marks=[pytest.mark.slow] if algorithm != "dsn" or "_" in dataset else [])
        for dataset in names()
        for algorithm in ALGORITHMS
    ],
)
def test_a_training_step_and_a_test(layouts, tmp_path, dataset, algorithm):
    where = keys(dataset, layouts[dataset])
    call("dsn-train", *where, *STEP, *ALGORITHMS[algorithm], "hydra.run.dir=run", cwd=tmp_path)
    rows = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {row["dataset"] for row in rows} == {dataset.removesuffix("_all")}
    chosen = {row["selection"] for row in rows}
    assert chosen >= ({"uniform", "dense"} if algorithm == "baseline" else {algorithm})
    assert all(row["videos"] > 0 for row in rows)
    assert all(0 <= row["map"] <= 1 for row in rows)
