"""THUMOS14: three kinds of annotations, background videos, and UCF101 as its training set."""

import csv
import json
from collections import Counter

import numpy as np
import pytest
from scipy.io import savemat

from dsn_lightning.datasets.thumos14 import Thumos14
from dsn_lightning.errors import UsageError
from helpers.dataset_files import by_id, ids, touch, write_mat, write_thumos14, write_ucf101

SUBSETS = ("train", "val", "test")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"subset": "Test"}, "an entry has no field 'annotations'"),
        ({"subset": "Test", "annotations": [{"label": "Archery"}]}, "an entry has no field 'segment'"),
        ({"subset": "Test", "annotations": [{"label": "Archery", "segment": ["", 2]}]}, "could not convert string"),
        ({"subset": "Test", "annotations": [{"label": "Archery", "segment": [1, 2]}]}, "is outside of"),
    ],
)
def test_annotations_with_an_unexpected_format_are_refused(tmp_path, entry, message):
    known = {"subset": "Validation", "annotations": [{"label": "Archery", "segment": [1, 2]}]}
    content = {"database": {"a": known, "b": known | {"subset": "test"}, "../../c": entry}}
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "thumos14.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message):
        Thumos14(str(tmp_path / "root"))


def test_official_counts_follow_the_training_set():
    assert Thumos14.official_counts() == {"train": 1010, "test": 1574}
    trained_on_both = Thumos14.official_counts(train_on="training+validation")
    assert trained_on_both == {"train": 1010 + 13320, "test": 1574}  # the training set is all of UCF101
    with pytest.raises(UsageError, match=r"dataset\.train_on=test: must be one of"):
        Thumos14.official_counts(train_on="test")


@pytest.mark.parametrize("test_file", ["test_set_meta/test_set_meta.mat", "TH14evalkit/test_set_final.mat"])
def test_the_challenges_files_are_read(tmp_path, test_file):
    source = Thumos14(str(write_thumos14(tmp_path, test_file)))
    assert source.classes == ("Archery", "Basketball", "HighJump")
    assert [video.labels for video in source.records("train")] == [(0,), (1, 2), (2,)]
    videos = by_id(source, "test")
    assert videos["video_test_0000001"].labels == (0, 1, 2)
    assert videos["video_test_0000002"].labels == ()  # a background video, in spite of its class
    assert ids(Thumos14(str(tmp_path), background=False).records("test")) == {"video_test_0000001"}


def test_background_videos_need_no_class(tmp_path):
    none = np.zeros((0, 0))
    file = write_thumos14(tmp_path) / "test_set_meta" / "test_set_meta.mat"
    known = ("video_test_0000001", "Archery", 1, "", none, "NO")
    write_mat(file, "test_videos", [known, ("video_test_0000002", "", none, "", none, "YES")])
    videos = by_id(Thumos14(str(tmp_path)), "test")
    assert [videos[f"video_test_000000{i}"].labels for i in (1, 2)] == [(0,), ()]
    write_mat(file, "test_videos", [known, ("video_test_0000002", "", none, "", none, "NO")])
    with pytest.raises(UsageError, match="video_test_0000002 has no class and is not a background video"):
        Thumos14(str(tmp_path))


def test_the_class_list_names_classes_that_no_video_has(tmp_path):
    write_thumos14(tmp_path)
    write_mat(
        tmp_path / "validation_set_meta" / "validation_set.mat",
        "validation_videos",
        [
            ("video_validation_0000001", "Archery", 1, "", np.zeros((0, 0)), "NO"),
            ("video_validation_0000003", "HighJump", 3, "", np.zeros((0, 0)), "NO"),
        ],
    )
    with pytest.raises(UsageError, match=r"class 2 has no name; put the official 'Class Index\.txt'"):
        Thumos14(str(tmp_path))
    (tmp_path / "Class Index.txt").write_text("1 Archery\n2 Basketball\n3 HighJump\n")
    assert Thumos14(str(tmp_path)).classes == ("Archery", "Basketball", "HighJump")


@pytest.mark.parametrize("place", ["videos/{}.webm", "videos/test/{}.mp4", "test/{}.mp4", "{}.mkv"])
def test_videos_are_found_in_every_layout(tmp_path, place):
    file = touch(tmp_path / place.format("video_test_0000001"))
    assert by_id(Thumos14(str(write_thumos14(tmp_path))), "test")["video_test_0000001"].path == file


def test_the_training_set_adds_ucf101(tmp_path):
    thumos, ucf101 = write_thumos14(tmp_path / "a"), write_ucf101(tmp_path / "b")
    source = Thumos14(str(thumos), train_on="training+validation", ucf101_root=str(ucf101))
    train = by_id(source, "train")
    assert len(train) == 3 + 2  # of the three classes only Archery is one of UCF101's here
    assert train["Archery/v_Archery_g01_c01"].labels == (0,)
    assert train["Archery/v_Archery_g01_c01"].group == "Archery/g01"
    assert all(video.path.is_relative_to(source.root) for video in train.values())


@pytest.mark.parametrize("annotations", [None, "thumos14.json", "val_Annotation.csv"])
def test_212_of_213_detection_videos_have_a_class(real_data, annotations):
    """The 213th has nothing but segments marked Ambiguous."""
    root = real_data / "thumos14"
    source = Thumos14(str(root), annotations=annotations and str(root / annotations))
    assert len(source.classes) == 20
    assert (source.classes[5], source.classes[6]) == ("CricketBowling", "CricketShot")
    assert {subset: len(source.records(subset)) for subset in SUBSETS} == {"train": 200, "val": 0, "test": 212}
    with (root / "test_Annotation.csv").open() as file:
        rows = list(csv.DictReader(file))
    listed = {row["video"] for row in rows}
    assert len(listed) == 213
    assert listed - ids(source.records("test")) == {"video_test_0001292"}
    assert {row["type"] for row in rows if row["video"] == "video_test_0001292"} == {"Ambiguous"}
    several = Counter(len(video.labels) for video in source.records("test"))
    assert several == {1: 178, 2: 33, 3: 1}
    video = by_id(source, "test")["video_test_0000004"]
    assert video.labels == (5, 6)
    assert video.spans[0] == (0.2, 1.5)  # [0.2, 1.1] and [1.0, 1.5]


def test_ucf101_has_2765_videos_of_the_20_classes(real_data):
    source = Thumos14(
        str(real_data / "thumos14"), train_on="training+validation", ucf101_root=str(real_data / "ucf101")
    )
    trimmed = [video for video in source.records("train") if video.group is not None]
    assert len(trimmed) == 2765
    for video in trimmed:
        assert source.classes[video.labels[0]] == video.video_id.split("/")[0]


def test_a_test_set_without_labels_names_the_file_with_labels(tmp_path):
    write_thumos14(tmp_path)
    table = np.zeros(1, dtype=[("video_name", object), ("background_video", object)])
    table[0] = ("video_test_0000001", "NO")
    savemat(tmp_path / "test_set_meta" / "test_set_meta.mat", {"test_videos": table})
    with pytest.raises(UsageError, match=r"missing fields: primary_action, .*test_set_final\.mat"):
        Thumos14(str(tmp_path))
