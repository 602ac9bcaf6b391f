"""Class folders: splits by fraction, by group and by lists, and what is refused."""

import os

import pytest

from conftest import grey_ramp, write_video
from dsn_lightning.datasets.folder import Folder
from dsn_lightning.errors import UsageError
from helpers.dataset_files import by_id, ids, touch

SUBSETS = ("train", "val", "test")


def ids_by_subset(source: Folder) -> dict[str, set[str]]:
    return {s: {r.video_id for r in source.records(s)} for s in ("train", "val", "test")}


def test_every_class_is_split_by_fraction(class_folders):
    split = ids_by_subset(Folder(str(class_folders), test_fraction=0.25, val_fraction=0.3))
    assert {s: len(v) for s, v in split.items()} == {"train": 4, "val": 2, "test": 2}
    assert {v.split("/")[0] for v in split["test"]} == {"walk", "run"}
    assert not split["train"] & split["test"]


def test_a_group_is_in_one_subset(class_folders):
    split = ids_by_subset(Folder(str(class_folders), test_fraction=0.5, group="^[a-z]+"))
    people = {s: {v.split("/")[1].split("_")[0] for v in names} for s, names in split.items()}
    assert len(people["test"]) == 2
    assert not people["train"] & people["test"]


def test_records_name_the_groups_found_in_file_names(class_folders):
    source = Folder(str(class_folders), test_fraction=0.5, group="^[a-z]+")
    assert by_id(source, "train") | by_id(source, "test")
    assert all(video.group == video.path.name.split("_")[0] for s in SUBSETS for video in source.records(s))


def test_lists_split_class_folders(class_folders, tmp_path):
    (tmp_path / "train.txt").write_text("walk/ann_walk.mp4\nrun/ann_run.mp4\n")
    (tmp_path / "test.txt").write_text("walk/bob_walk.mp4\n\n")
    source = Folder(str(class_folders), train_list=str(tmp_path / "train.txt"), test_list=str(tmp_path / "test.txt"))
    assert ids_by_subset(source)["test"] == {"walk/bob_walk.mp4"}
    assert len(ids_by_subset(source)["train"]) == 2


def test_folders_of_images_are_videos_of_a_class_folder(tmp_path):
    for file in (
        "run/a/img_00001.jpg",
        "run/b/1.PNG",
        "run/c.d/img_00001.jpeg",
        "run/none/notes.txt",
        "run/img_1.jpg",
        "run/.hidden/img_00001.jpg",
        "run/deep/er/img_00001.jpg",
        "walk/a.avi",
        "walk/a/img_00001.jpg",
        "walk/b/img_00001.jpg",
    ):
        touch(tmp_path / file)
    with pytest.warns(UserWarning, match=r"left out 3 files and folders .*\(run/deep, run/img_1.jpg, run/none\)"):
        source = Folder(str(tmp_path), test_fraction=0.4)
    assert set().union(*(ids(source.records(s)) for s in SUBSETS)) == {
        "run/a",
        "run/b",
        "run/c.d",
        "walk/a.avi",
        "walk/b",  # walk/a contains the frames of walk/a.avi
    }
    assert len(source.records("test")) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root": None}, "dataset.root is not set"),
        ({"root": "/nowhere/at/all"}, "no such folder"),
        ({"test_fraction": 0}, "test_fraction=0"),
        ({"val_fraction": 1.0}, "val_fraction=1.0"),
        ({"group": "["}, "not a regular expression"),
        ({"group": "^[0-9]+"}, "no match in the file name"),
        ({"group": "."}, None),
        ({"train_list": "x.txt"}, "needs both"),
        ({"train_list": "x.txt", "test_list": "y.txt"}, "no such file"),
    ],
)
def test_wrong_settings_are_refused(class_folders, changes, message):
    arguments = {"root": str(class_folders), **changes}
    if message is None:
        Folder(**arguments)
        return
    with pytest.raises(UsageError, match=message):
        Folder(**arguments)


def test_an_empty_class_folder_is_refused(class_folders, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_video(tmp_path / "a" / "x.mp4", grey_ramp(3))
    with pytest.raises(UsageError, match="no videos in this class folder"):
        Folder(str(tmp_path))


def test_a_tested_class_without_training_videos_is_refused(class_folders, tmp_path):
    (tmp_path / "train.txt").write_text("walk/ann_walk.mp4\n")
    (tmp_path / "test.txt").write_text("run/bob_run.mp4\n")
    with pytest.raises(UsageError, match=r"has the test video .* but no training video"):
        Folder(str(class_folders), train_list=str(tmp_path / "train.txt"), test_list=str(tmp_path / "test.txt"))


@pytest.mark.parametrize("extension", ["wmv", "flv", "3gp", "ts", "m2ts", "ogv", "asf", "dv", "gif", "mxf", "MOV"])
def test_each_container_is_a_video(extension, tmp_path):
    for name in ("run/a", "run/b", "walk/a", "walk/b"):
        touch(tmp_path / f"{name}.{extension}")
    source = Folder(str(tmp_path))
    assert sum(len(source.records(s)) for s in SUBSETS) == 4


def test_nested_videos_belong_to_the_class_folder(tmp_path):
    for name in ("run/a.mp4", "run/deep/er/b.mp4", "run/deep/c/img_1.jpg", "walk/x/a.mp4", "walk/y/b.mp4"):
        touch(tmp_path / name)
    with (
        pytest.raises(UsageError, match=r"walk: no videos .*dataset.nested=true"),
        pytest.warns(UserWarning, match="nested=true"),
    ):
        Folder(str(tmp_path))
    source = Folder(str(tmp_path), nested=True)
    labels = {r.video_id: source.classes[r.labels[0]] for s in SUBSETS for r in source.records(s)}
    runs = {"run/a.mp4", "run/deep/er/b.mp4", "run/deep/c"}
    assert labels == dict.fromkeys(runs, "run") | {"walk/x/a.mp4": "walk", "walk/y/b.mp4": "walk"}


def test_names_may_have_any_bytes(tmp_path):
    """Names from other systems are read; reports and identifiers show their bytes as escapes."""
    for name in (b"run/caf\xe9.mp4", b"run/b.mp4", b"w\xe4lk/a.mp4", "wälk/b.mp4".encode(), b"w\xe4lk/b.mp4"):
        touch(tmp_path / os.fsdecode(name))
    touch(tmp_path / "wälk" / "c.mp4")
    source = Folder(str(tmp_path))
    assert source.classes == ("run", "wälk", r"w\xe4lk")
    records = {r.video_id: r for s in SUBSETS for r in source.records(s)}
    assert os.fsencode(records[r"run/caf\xe9.mp4"].path).endswith(b"run/caf\xe9.mp4")
    assert all(video_id.isprintable() and video_id.encode() for video_id in records)
    (tmp_path / "train.txt").write_bytes(b"run/caf\xe9.mp4 run\nw\xe4lk/a.mp4 walk\n")
    (tmp_path / "test.txt").write_bytes(b"run/b.mp4 run\n")
    listed = Folder(str(tmp_path), train_list=str(tmp_path / "train.txt"), test_list=str(tmp_path / "test.txt"))
    assert all(record.path.is_file() for record in listed.records("train"))
