"""Every data set of ``conf/dataset`` in its layout: its contract, and a training step and a test of every algorithm."""

import json
from pathlib import Path

import pytest

from conftest import NEEDLE
from dsn_lightning.config.build_part import build_source
from dsn_lightning.config.compose import settings_of
from dsn_lightning.datasets import SUBSETS, Needle, check_source
from helpers.dataset_files import fill, write_activitynet, write_hmdb51, write_kinetics, write_thumos14, write_ucf101
from helpers.processes import call

LAYOUTS = {
    "ucf101": write_ucf101,
    "hmdb51": write_hmdb51,
    "thumos14": write_thumos14,
    "activitynet": write_activitynet,
    "kinetics": write_kinetics,
}
SMALLER = ("thumos14", "thumos14_all", "activitynet")  # the written annotations have three classes
STEP = [
    "recipe=none",
    "backbone=r3d_tiny",
    "schedule.max_epochs=1",
    "schedule.batch_size=2",
    "trainer.accelerator=cpu",
    "M=2",
    "N=2",
    "+trainer.limit_train_batches=1",
    "test.random_draws=2",
    "test.figures=false",
    "progress=false",
    "shared.folder=shared",
    "dataset.reading.scales=[1.0]",
    "dataset.reading.max_bad=1",
]
ALGORITHMS = {
    "baseline": ["algorithm=baseline"],
    "dsn": ["algorithm=dsn", "algorithm.warmup_epochs=0"],
    "dsn_fixed": ["algorithm=dsn_fixed", "classifier.checkpoint=auto"],
}


def keys(dataset: str, root: Path) -> list[str]:
    settings = [f"dataset={dataset}", f"dataset.root={root}"]
    if dataset.startswith("needle"):
        settings += NEEDLE
    if dataset == "thumos14_all":
        settings.append(f"dataset.ucf101_root={root / 'ucf101'}")
    return settings


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory, class_folders: Path, needle_root: Path) -> dict[str, Path]:
    """A small copy of each data set, two or three videos of each subset."""
    found = {"folder": class_folders, "needle": needle_root, "needle_everywhere": needle_root}
    for name, write in LAYOUTS.items():
        root = tmp_path_factory.mktemp(name)
        write(root)
        found[name] = root
        fill(settings_of(*keys(name, root), "run_dir=none").dataset)
    write_ucf101(found["thumos14"] / "ucf101")
    found["thumos14_all"] = found["thumos14"]
    fill(settings_of(*keys("thumos14_all", found["thumos14"]), "run_dir=none").dataset)
    return found


def names() -> list[str]:
    conf = Path(__file__).resolve().parents[2] / "conf" / "dataset"
    return sorted(path.stem for path in conf.glob("*.yaml"))


@pytest.mark.filterwarnings("ignore:.*left out .* no annotations")
@pytest.mark.parametrize("dataset", names())
def test_every_dataset_follows_its_contract(layouts, dataset):
    """Small files in the layout of the data set; the counts of the official lists are tested on real lists."""
    settings = settings_of(*keys(dataset, layouts[dataset]), "run_dir=none").dataset
    source = build_source(settings)
    check_source(source, f"dataset={dataset}")
    assert source.name == settings.name
    source.prepare()
    videos = {subset: source.records(subset) for subset in SUBSETS}
    assert videos["train"]
    assert videos["test"]
    ids = [video.video_id for subset in SUBSETS for video in videos[subset]]
    assert len(ids) == len(set(ids))
    assert len(source.classes) == len(set(source.classes)) >= 2
    for subset in SUBSETS:
        for video in videos[subset]:
            assert video.path.is_relative_to(source.root)
            assert video.labels or subset == "test"
            assert set(video.labels) <= set(range(len(source.classes)))
            assert all(0 <= start < end for start, end in video.spans or ())
        assert source.records(subset) == videos[subset]
    assert any(video.path.exists() for video in videos["train"])
    if source.num_classes is not None and dataset not in SMALLER:
        assert len(source.classes) == source.num_classes
    counts = type(source).official_counts(**settings.source)
    if isinstance(source, Needle):
        assert counts == {subset: len(videos[subset]) for subset in SUBSETS}
    assert counts is None or counts.keys() >= {"train", "test"}


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
    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    network, tested = facts["networks"][algorithm], facts["tested_on"]
    assert network["classifier_from"].startswith("random weights")
    official = type(build_source(settings_of(*where, "run_dir=none").dataset)).official_counts() or {}
    for counts, subset in ((network, "train"), (tested, "test")):
        assert 0 < counts["videos"] <= counts["videos_of"]
        assert 0 < counts["classes"] <= counts["classes_of"]
        if dataset in LAYOUTS:  # three videos are there, of all that the official lists name
            assert counts["videos"] <= 3
            assert counts["videos_of"] == official.get(subset, counts["videos_of"])
