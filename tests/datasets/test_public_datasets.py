"""The public data sets' official lists and annotations, and list files of one's own."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat
from sklearn.metrics import average_precision_score
from torch.utils.data import DataLoader

from dsn_lightning.data.section_clips import label_vector
from dsn_lightning.datasets.activitynet import ActivityNet
from dsn_lightning.datasets.annotations import union
from dsn_lightning.datasets.folder import Folder
from dsn_lightning.datasets.hmdb51 import Hmdb51
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.datasets.thumos14 import Thumos14
from dsn_lightning.datasets.ucf101 import Ucf101
from dsn_lightning.errors import UsageError
from dsn_lightning.estimators.estimate import Estimate
from dsn_lightning.metrics import mean_average_precision, mean_class_accuracy, top_k_accuracy, video_metrics
from helpers.dataset_files import touch, write_activitynet, write_hmdb51, write_mat, write_thumos14, write_ucf101
from helpers.training import fit, make_dsn, sgd

SUBSETS = ("train", "val", "test")


def ids(videos: list[VideoRecord]) -> set[str]:
    return {video.video_id for video in videos}


def by_id(source, subset: str) -> dict[str, VideoRecord]:
    return {video.video_id: video for video in source.records(subset)}


# --- UCF101 and HMDB51


@pytest.mark.parametrize(("split", "train", "test"), [(1, 9537, 3783), (2, 9586, 3734), (3, 9624, 3696)])
def test_ucf101_has_the_official_counts(real_data, split, train, test):
    source = Ucf101(str(real_data / "ucf101"), split=split)
    assert len(source.classes) == 101
    assert (source.classes[0], source.classes[-1]) == ("ApplyEyeMakeup", "YoYo")
    assert [len(source.records(subset)) for subset in SUBSETS] == [train, 0, test]
    assert not ids(source.records("train")) & ids(source.records("test"))
    groups = [{video.group for video in source.records(subset)} for subset in ("train", "test")]
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == 101 * 25
    assert all(label in range(101) for s in SUBSETS for video in source.records(s) for label in video.labels)


def test_ucf101_finds_the_real_files_and_keeps_the_missing_ones(real_data):
    source = Ucf101(str(real_data / "ucf101"))
    there = [video for video in source.records("test") if video.path.is_file()]
    assert len(there) == len(list((real_data / "ucf101" / "UCF-101").glob("*/*.avi"))) == 23
    for video in there:
        assert source.classes[video.labels[0]] == video.path.parent.name
    missing = by_id(source, "train")["Archery/v_Archery_g08_c01"]
    assert missing.path == real_data / "ucf101" / "UCF-101" / "Archery" / "v_Archery_g08_c01.avi"
    assert not missing.path.exists()
    assert missing.group == "Archery/g08"


@pytest.mark.parametrize("folder", ["UCF-101", "videos", "."])
def test_ucf101s_two_spellings_of_handstand_are_one_class(tmp_path, folder):
    """The class list has HandstandPushups, the file names HandStandPushups."""
    source = Ucf101(str(write_ucf101(tmp_path, folder=folder)))
    video = by_id(source, "train")["HandstandPushups/v_HandStandPushups_g08_c01"]
    assert video.path.is_file()
    assert source.classes[video.labels[0]] == "HandstandPushups"
    assert len(source.classes) == 101


def test_ucf101_takes_other_containers_and_class_folders_in_another_case(tmp_path):
    write_ucf101(tmp_path)
    (tmp_path / "UCF-101" / "HandstandPushups").rename(tmp_path / "UCF-101" / "HandStandPushups")
    for file in (tmp_path / "UCF-101" / "HandStandPushups").iterdir():
        file.rename(file.with_suffix(".webm"))
    videos = by_id(Ucf101(str(tmp_path)), "test")
    assert videos["HandstandPushups/v_HandStandPushups_g01_c01"].path.suffix == ".webm"
    assert videos["HandstandPushups/v_HandStandPushups_g01_c01"].path.is_file()


def test_labels_do_not_follow_the_order_of_folders(tmp_path):
    source = Ucf101(str(write_ucf101(tmp_path)))  # HandstandPushups is listed before Archery
    assert by_id(source, "train")["Archery/v_Archery_g08_c01"].labels == (1,)


def test_ucf101_refuses_a_list_that_contradicts_the_class_list(tmp_path):
    write_ucf101(tmp_path)
    file = tmp_path / "ucfTrainTestlist" / "trainlist01.txt"
    file.write_text(file.read_text().replace("c01.avi 2\n", "c01.avi 3\n"))
    with pytest.raises(UsageError, match=r"Archery.*contradicts classInd\.txt"):
        Ucf101(str(tmp_path))


@pytest.mark.parametrize("split", [1, 2, 3])
def test_hmdb51_has_the_official_counts(real_data, split):
    source = Hmdb51(str(real_data / "hmdb51"), split=split)
    assert len(source.classes) == 51
    assert [len(source.records(subset)) for subset in SUBSETS] == [3570, 0, 1530]
    assert set(Counter(video.labels for video in source.records("test")).values()) == {30}
    groups = [{video.group for video in source.records(subset)} for subset in ("train", "test")]
    assert not groups[0] & groups[1]
    assert None not in groups[0] | groups[1]


def test_hmdb51_agrees_with_the_table_of_the_real_clips(real_data):
    """Films, classes and sides are those of a table made by others; it writes @ for # and & in films."""
    sides = {"1": "train", "2": "test"}
    with (real_data / "hmdb51" / "jhmdb_hmdb_splits.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split1"] in sides and row["hmdb_name"]]
    source = Hmdb51(str(real_data / "hmdb51"))
    videos = {subset: by_id(source, subset) for subset in ("train", "test")}
    assert len(rows) == 922
    for row in rows:
        video = videos[sides[row["split1"]]][f"{row['class']}/{row['hmdb_name'].removesuffix('.avi')}"]
        assert source.classes[video.labels[0]] == row["class"]
        assert re.sub("[#&]", "@", str(video.group)) == f"{row['class']}/{row['group']}"
    there = {subset: sum(video.path.is_file() for video in own.values()) for subset, own in videos.items()}
    assert there == {"train": 665, "test": 257}


def test_hmdb51_takes_awkward_names_literally(tmp_path):
    root = write_hmdb51(tmp_path)
    name = "Dr._No!_#0 (part; 0)_catch_f_cm_np10_le_bad_0"
    file = touch(root / "hmdb51_org" / "catch" / f"{name}.avi")
    videos = by_id(Hmdb51(str(root)), "train")
    assert len(videos) == 102
    assert videos[f"catch/{name}"].path == file
    assert videos[f"catch/{name}"].group == "catch/Dr._No!_#0 (part; 0)"
    assert videos[f"catch/{name}"].labels == (1,)


@pytest.mark.parametrize("place", ["testTrainMulti_7030_splits", "test_train_splits/testTrainMulti_7030_splits"])
def test_hmdb51_finds_its_lists_where_the_archives_put_them(tmp_path, place):
    root = write_hmdb51(tmp_path / "data")
    (root / place).parent.mkdir(exist_ok=True)
    (root / "splits").rename(root / place)
    assert len(Hmdb51(str(root)).records("test")) == 51
    (root / place).rename(tmp_path / "elsewhere")
    assert len(Hmdb51(str(root), annotations=str(tmp_path / "elsewhere")).records("test")) == 51


def test_a_share_of_the_groups_can_be_held_out(tmp_path):
    root = str(write_hmdb51(tmp_path))
    source = Hmdb51(root, val_fraction=0.25, seed=3)
    sizes = {subset: len(source.records(subset)) for subset in SUBSETS}
    assert sizes == {"train": 102 - 26, "val": 26, "test": 51}
    assert not {v.group for v in source.records("val")} & {v.group for v in source.records("train")}
    assert ids(source.records("val")) == ids(Hmdb51(root, val_fraction=0.25, seed=3).records("val"))
    assert ids(source.records("val")) != ids(Hmdb51(root, val_fraction=0.25, seed=4).records("val"))


# --- ActivityNet


def test_activitynets_classes_are_the_sorted_leaves(tmp_path):
    source = ActivityNet(str(write_activitynet(tmp_path)))
    assert source.classes == ("Archery", "Ironing", "Zumba")
    assert ids(source.records("train")) == {"-a_1"}
    (video,) = source.records("test")
    assert video.labels == (0, 1)
    assert video.spans == ((1.0, 8.0), (9.0, 10.0))  # overlapping segments cover their time once


@pytest.mark.parametrize("file", ["videos/v_b.2.mkv", "videos/b.2.webm", "v_b.2.mp4"])
def test_activitynet_finds_files_with_and_without_prefix(tmp_path, file):
    touch(tmp_path / file)
    assert ActivityNet(str(write_activitynet(tmp_path))).records("test")[0].path == tmp_path / file


def test_overlapping_segments_cover_their_time_once():
    assert union([(1, 8), (2, 3), (8, 9), (12, 11)]) == ((1.0, 9.0),)


def test_frames_in_a_folder_count_where_there_is_no_file(tmp_path):
    touch(tmp_path / "videos" / "v_b.2" / "img_00001.jpg")
    root = str(write_activitynet(tmp_path))
    assert ActivityNet(root).records("test")[0].path == tmp_path / "videos" / "v_b.2"
    file = touch(tmp_path / "videos" / "v_b.2.mp4")
    assert ActivityNet(root).records("test")[0].path == file


def test_activitynet_names_what_it_leaves_out(tmp_path):
    source = ActivityNet(str(write_activitynet(tmp_path)))
    with pytest.warns(UserWarning, match=r"1 videos of the labelled subsets have no annotation .* \(none\)"):
        source.prepare()


def test_activitynet_refuses_a_label_outside_of_the_taxonomy(tmp_path):
    file = write_activitynet(tmp_path) / "activity_net.v1-3.min.json"
    file.write_text(file.read_text().replace('"label": "Archery"', '"label": "Sports"'))
    with pytest.raises(UsageError, match=r"video b\.2 has the label 'Sports'"):
        ActivityNet(str(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"label": "Archery"', '"name": "Archery"', "an entry has no 'label'"),
        ("[1.0, 4.0]", "[1.0]", "has another form than expected"),
        ('"b.2"', '"/../../b.2"', r"'/\.\./\.\./b\.2' does not lie below dataset\.root="),
    ],
)
def test_annotations_of_another_form_are_named(tmp_path, old, new, message):
    file = write_activitynet(tmp_path / "root") / "activity_net.v1-3.min.json"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(UsageError, match=message) as caught:
        ActivityNet(str(tmp_path / "root"))
    assert str(caught.value).startswith(str(file))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"subset": "Test"}, "an entry has no 'annotations'"),
        ({"subset": "Test", "annotations": [{"label": "Archery"}]}, "an entry has no 'segment'"),
        ({"subset": "Test", "annotations": [{"label": "Archery", "segment": ["", 2]}]}, "could not convert string"),
        ({"subset": "Test", "annotations": [{"label": "Archery", "segment": [1, 2]}]}, "does not lie below"),
    ],
)
def test_thumos14_annotations_of_another_form_are_named(tmp_path, entry, message):
    known = {"subset": "Validation", "annotations": [{"label": "Archery", "segment": [1, 2]}]}
    content = {"database": {"a": known, "b": known | {"subset": "test"}, "../../c": entry}}
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "thumos14.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message):
        Thumos14(str(tmp_path / "root"))


def test_real_activitynet_files(real_data):
    root = real_data / "activitynet"
    source = ActivityNet(str(root))
    source.prepare()  # warns of nothing
    database = json.loads((root / "activity_net.v1-3.min.json").read_text())["database"]
    assert {subset: len(source.records(subset)) for subset in SUBSETS} == {"train": 360, "val": 0, "test": 400}
    for video in (*source.records("train"), *source.records("test")):
        assert video.path.is_file()
        assert {source.classes[label] for label in video.labels} == {
            own["label"] for own in database[video.video_id]["annotations"]
        }
        assert all(0 <= start < end for start, end in video.spans)


# --- THUMOS14


@pytest.mark.parametrize("test_file", ["test_set_meta/test_set_meta.mat", "TH14evalkit/test_set_final.mat"])
def test_thumos14_reads_the_challenges_files(tmp_path, test_file):
    source = Thumos14(str(write_thumos14(tmp_path, test_file)))
    assert source.classes == ("Archery", "Basketball", "HighJump")
    assert [video.labels for video in source.records("train")] == [(0,), (1, 2), (2,)]
    videos = by_id(source, "test")
    assert videos["video_test_0000001"].labels == (0, 1, 2)
    assert videos["video_test_0000002"].labels == ()  # a background video, whatever else its entry says
    assert ids(Thumos14(str(tmp_path), background=False).records("test")) == {"video_test_0000001"}


def test_thumos14s_background_videos_need_no_class(tmp_path):
    none = np.zeros((0, 0))
    file = write_thumos14(tmp_path) / "test_set_meta" / "test_set_meta.mat"
    known = ("video_test_0000001", "Archery", 1, "", none, "NO")
    write_mat(file, "test_videos", [known, ("video_test_0000002", "", none, "", none, "YES")])
    videos = by_id(Thumos14(str(tmp_path)), "test")
    assert [videos[f"video_test_000000{i}"].labels for i in (1, 2)] == [(0,), ()]
    write_mat(file, "test_videos", [known, ("video_test_0000002", "", none, "", none, "NO")])
    with pytest.raises(UsageError, match="video_test_0000002 has no class and is no background video"):
        Thumos14(str(tmp_path))


def test_thumos14_takes_the_class_list_where_the_videos_do_not_name_all_classes(tmp_path):
    write_thumos14(tmp_path)
    write_mat(tmp_path / "validation_set_meta" / "validation_set.mat", "validation_videos", [
        ("video_validation_0000001", "Archery", 1, "", np.zeros((0, 0)), "NO"),
        ("video_validation_0000003", "HighJump", 3, "", np.zeros((0, 0)), "NO"),
    ])  # fmt: skip
    with pytest.raises(UsageError, match=r"no name is known for class 2; put the official 'Class Index\.txt'"):
        Thumos14(str(tmp_path))
    (tmp_path / "Class Index.txt").write_text("1 Archery\n2 Basketball\n3 HighJump\n")
    assert Thumos14(str(tmp_path)).classes == ("Archery", "Basketball", "HighJump")


@pytest.mark.parametrize("place", ["videos/{}.webm", "videos/test/{}.mp4", "test/{}.mp4", "{}.mkv"])
def test_thumos14_finds_its_videos(tmp_path, place):
    file = touch(tmp_path / place.format("video_test_0000001"))
    assert by_id(Thumos14(str(write_thumos14(tmp_path))), "test")["video_test_0000001"].path == file


def test_thumos14_trains_on_ucf101_too(tmp_path):
    thumos, ucf101 = write_thumos14(tmp_path / "a"), write_ucf101(tmp_path / "b")
    source = Thumos14(str(thumos), train_on="training+validation", ucf101_root=str(ucf101))
    train = by_id(source, "train")
    assert len(train) == 3 + 2  # of the three classes only Archery is one of UCF101's here
    assert train["Archery/v_Archery_g01_c01"].labels == (0,)
    assert train["Archery/v_Archery_g01_c01"].group == "Archery/g01"
    assert all(video.path.is_relative_to(source.root) for video in train.values())


@pytest.mark.parametrize("annotations", [None, "thumos14.json", "val_Annotation.csv"])
def test_thumos14_has_212_of_213_detection_videos(real_data, annotations):
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


def test_thumos14s_training_set_of_the_20_classes(real_data):
    source = Thumos14(str(real_data / "thumos14"), train_on="training+validation",
                      ucf101_root=str(real_data / "ucf101"))  # fmt: skip
    trimmed = [video for video in source.records("train") if video.group is not None]
    assert len(trimmed) == 2765
    for video in trimmed:
        assert source.classes[video.labels[0]] == video.video_id.split("/")[0]


# --- what is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: Ucf101(None), r"dataset\.root is not set: give the folder that holds UCF-101/"),
        (lambda p: Ucf101(str(p / "no")), r"dataset\.root=.*: no such folder"),
        (lambda p: Ucf101(str(p)), r"no annotations found .*dataset\.annotations=PATH"),
        (lambda p: Ucf101(str(p), annotations=str(p / "no")), r"dataset\.annotations=.*: no such file or folder"),
        (lambda p: Ucf101(str(p), annotations=str(p)), r"classInd\.txt: no such file"),
        (lambda p: Ucf101(str(write_ucf101(p)), split=4), r"dataset\.split=4: must be 1, 2 or 3"),
        (lambda p: Ucf101(str(write_ucf101(p)), val_fraction=1), r"dataset\.val_fraction=1: must be"),
        (lambda p: Hmdb51(str(p)), "no annotations found"),
        (lambda p: Hmdb51(str(p), split=0), r"dataset\.split=0"),
        (lambda p: Hmdb51(str(p), annotations=str(p)), r"holds 0 lists \*_test_split1\.txt, the official ones are 51"),
        (lambda p: ActivityNet(str(p)), "no annotations found"),
        (lambda p: ActivityNet(str(p), annotations=str(touch(p / "x.json"))), r"x\.json: cannot be read as JSON"),
        (lambda p: Thumos14(str(p)), "no annotations found"),
        (lambda p: Thumos14(str(write_thumos14(p)), train_on="test"), r"dataset\.train_on=test: must be one of"),
        (lambda p: Thumos14(str(p), train_on="training+validation"), r"give dataset\.ucf101_root"),
        (lambda p: Thumos14(str(touch(p / "validation_set.mat").parent)), "cannot be read as a MATLAB file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, make, message):
    with pytest.raises(UsageError, match=message) as caught:
        make(tmp_path)
    assert "\n" not in str(caught.value)


def test_thumos14_says_where_the_labels_of_the_test_set_are(tmp_path):
    write_thumos14(tmp_path)
    table = np.zeros(1, dtype=[("video_name", object), ("background_video", object)])
    table[0] = ("video_test_0000001", "NO")
    savemat(tmp_path / "test_set_meta" / "test_set_meta.mat", {"test_videos": table})
    with pytest.raises(UsageError, match=r"has no primary_action, .*test_set_final\.mat"):
        Thumos14(str(tmp_path))


# --- list files


@pytest.fixture
def own_videos(tmp_path: Path) -> Path:
    for name in ("a.mp4", "more/b c.mp4", "d.avi"):
        touch(tmp_path / "data" / name)
    return tmp_path / "data"


def listed(root: Path, train: str, test: str, *, ending: str = "txt", **more: Any) -> Folder:
    files = {f"{side}_list": root.parent / f"{side}.{ending}" for side in ("train", "test")}
    files["train_list"].write_text(train)
    files["test_list"].write_text(test)
    return Folder(str(root), **{key: str(file) for key, file in files.items()}, **more)


@pytest.mark.parametrize("seed", range(5))
def test_some_of_the_training_list_may_be_held_out(own_videos, seed):
    train = "path,label,start,end\n" + "".join(f"{i}.mp4,run,{t},{t + 1}\n" for i in range(4) for t in (0, 2))
    train += "".join(f"{i}.avi,walk,,\n" for i in range(4)) + "a.mp4,run,,\na.mp4,run,3,4\n"
    source = listed(own_videos, train, "path,label\nd.avi,run\n", ending="csv", val_fraction=0.25, seed=seed)
    held_out, trained = source.records("val"), source.records("train")
    assert len({video.path for video in held_out}) == 2  # of nine files
    assert len(held_out) + len(trained) == 14
    assert not {video.path for video in held_out} & {video.path for video in trained}
    assert len(source.records("test")) == 1


@pytest.mark.parametrize("seed", range(5))
def test_no_class_is_held_out_whole(own_videos, seed):
    train = "".join(f"{label}_{i}.mp4 {label}\n" for label in range(20) for i in range(2)) + "a.mp4 0\n"
    source = listed(own_videos, train, "d.avi 0\n", val_fraction=0.4, seed=seed)
    assert {label for video in source.records("train") for label in video.labels} == {*range(20)}
    assert 0 < len(source.records("val")) <= 16
    assert len(source.records("train")) + len(source.records("val")) == 41


def test_what_is_held_out_is_said_once(own_videos, tmp_path):
    (tmp_path / "val.txt").write_text("d.avi run\n")
    more = {"val_list": str(tmp_path / "val.txt"), "val_fraction": 0.2}
    with pytest.raises(UsageError, match=r"dataset\.val_list=.* says what is held out already"):
        listed(own_videos, "a.mp4 run\nmore/b c.mp4 walk\n", "b.avi run\n", **more)


def test_list_lines_end_with_the_label(own_videos):
    source = listed(own_videos, "more/b c.mp4 walk\na.mp4 run\n", "d.avi run\nnot there.mp4 walk\n")
    assert source.classes == ("run", "walk")
    assert [(v.video_id, v.labels) for v in source.records("train")] == [("more/b c.mp4", (1,)), ("a.mp4", (0,))]
    assert [v.path.exists() for v in source.records("test")] == [True, False]


def test_list_labels_may_be_numbers(own_videos, tmp_path):
    source = listed(own_videos, "a.mp4 10\nmore/b c.mp4 9\n", "d.avi 10\n")
    assert source.classes == ("9", "10")
    assert source.records("test")[0].labels == (1,)
    names = tmp_path / "names.txt"
    names.write_text("brush hair\nrun\n")
    source = listed(own_videos, "a.mp4 1\nmore/b c.mp4 0\n", "d.avi run\n", classes=str(names))
    assert source.classes == ("brush hair", "run")
    assert source.records("train")[1].labels == (0,)
    assert source.records("test")[0].labels == (1,)


def test_csv_lists_give_several_labels_segments_and_groups(own_videos):
    source = listed(
        own_videos,
        "path,label,start,end,group\na.mp4,run;jump,0,2.5,ann\na.mp4,walk,2.5,4,ann\nmore/b c.mp4,walk,,,\n",
        'path,label\nd.avi,"jump; walk"\n',
        ending="csv",
    )
    assert source.classes == ("jump", "run", "walk")
    first, second, third = source.records("train")
    assert (first.video_id, first.labels, first.segment, first.group) == ("a.mp4#0-2.5", (0, 1), (0.0, 2.5), "ann")
    assert (second.video_id, second.segment) == ("a.mp4#2.5-4", (2.5, 4.0))
    assert (third.video_id, third.segment, third.group) == ("more/b c.mp4", None, None)
    assert source.records("test")[0].labels == (0, 2)


def test_lists_without_labels_keep_missing_files(class_folders, tmp_path):
    (tmp_path / "train.txt").write_text("walk/ann_walk.mp4\nrun/ann_run.mp4\nrun/gone away.mp4\n")
    (tmp_path / "test.txt").write_text("walk/bob_walk.mp4\n")
    source = Folder(str(class_folders), train_list=str(tmp_path / "train.txt"), test_list=str(tmp_path / "test.txt"))
    assert source.classes == ("run", "walk")
    gone = by_id(source, "train")["run/gone away.mp4"]
    assert gone.labels == (0,)
    assert not gone.path.exists()


def test_only_folders_in_the_lists_are_classes(tmp_path):
    for file in ("lists/train.txt", "run/a.mp4", "swim/b.mp4", "walk/c.mp4", "walk/d.mp4", "zoo/e.mp4"):
        touch(tmp_path / "data" / file)
    source = listed(tmp_path / "data", "walk/c.mp4\nrun/a.mp4\n", "walk/d.mp4\n")
    assert source.classes == ("run", "walk")
    assert source.records("test")[0].labels == (1,)


def test_folders_of_images_are_videos_of_a_class_folder(tmp_path):
    for file in ("run/a/img_00001.jpg", "run/b/1.PNG", "run/c.d/img_00001.jpeg", "run/none/notes.txt", "run/img_1.jpg",
                 "run/.hidden/img_00001.jpg", "run/deep/er/img_00001.jpg",
                 "walk/a.avi", "walk/a/img_00001.jpg", "walk/b/img_00001.jpg"):  # fmt: skip
        touch(tmp_path / file)
    source = Folder(str(tmp_path), test_fraction=0.4)
    assert set().union(*(ids(source.records(s)) for s in SUBSETS)) == {
        "run/a", "run/b", "run/c.d",
        "walk/a.avi", "walk/b",  # walk/a holds the frames of walk/a.avi
    }  # fmt: skip
    assert len(source.records("test")) == 2


def test_lists_may_name_files_whose_frames_are_there(tmp_path):
    for folder in ("run/a", "walk/b", "walk/c"):
        touch(tmp_path / "data" / folder / "img_00001.jpg")
    for ending in ("", ".avi"):
        source = listed(tmp_path / "data", f"run/a{ending}\nwalk/b{ending}\n", f"walk/c{ending}\nrun/gone{ending}\n")
        assert source.classes == ("run", "walk")
        assert ids(source.records("train")) == {f"run/a{ending}", f"walk/b{ending}"}


@pytest.mark.parametrize(
    ("train", "test", "ending", "message"),
    [
        ("x.mp4 run\n", "d.avi run\n", "txt", "none of its 1 files is below"),
        ("a.mp4 run\nmore/b c.mp4\n", "d.avi run\n", "txt", "'more/b c.mp4' has no label"),
        ("a.mp4 run\nmore/b c.mp4 walk\n", "d.avi sit\n", "txt", "label 'sit', which is none of the classes"),
        ("a.mp4 9\nmore/b c.mp4 10\n", "d.avi 0\n", "txt", "label '0', which is none of the classes"),
        ("a.mp4 run\nmore/b c.mp4 walk\n", "a.mp4 run\n", "txt", "stands in the train list too"),
        ("a.mp4 run\n", "d.avi run\n", "txt", "needs at least two classes"),
        ("a.mp4 run\n../e.mp4 walk\n", "d.avi run\n", "txt", "does not lie below"),
        ("a.mp4\n", "d.avi\n", "txt", "neither a label behind it nor a class folder"),
        ("more/b c.mp4\n", "d.avi run\n", "txt", "some of the lists give labels"),
        ("\n", "d.avi run\n", "txt", "the list is empty"),
        ("file,label\na.mp4,run\n", "path\n", "csv", r"wanted is path\[,label\]"),
        ("path,label\n", "path,label\n", "csv", "the list is empty"),
        ("path,label\na.mp4,\n", "path,label\n", "csv", r"line 2: 'a\.mp4' has no label"),
        ("path,label,start,end\na.mp4,run,3,2\n", "path,label\n", "csv", "must be seconds with 0 <= start < end"),
        ("path,label,start,end\na.mp4,run,3,\n", "path,label\n", "csv", "start=3, end="),
        ("path,label\na.mp4,run,walk\n", "path,label\n", "csv", "too many cells"),
    ],
)
def test_lists_that_make_no_sense_are_refused(own_videos, train, test, ending, message):
    with pytest.raises(UsageError, match=message) as caught:
        listed(own_videos, train, test, ending=ending)
    assert "\n" not in str(caught.value)


def test_a_class_list_goes_with_list_files(class_folders, tmp_path):
    with pytest.raises(UsageError, match="goes with list files"):
        Folder(str(class_folders), classes=str(tmp_path / "names.txt"))


def test_groups_found_in_names_are_kept(class_folders):
    source = Folder(str(class_folders), test_fraction=0.5, group="^[a-z]+")
    assert by_id(source, "train") | by_id(source, "test")
    assert all(video.group == video.path.name.split("_")[0] for s in SUBSETS for video in source.records(s))


# --- several labels, and none


def test_several_labels_are_shared_in_the_loss_and_each_is_rewarded(own_videos):
    """A whole training step: targets are the normalised multi-hot vector; a clip is right when it gives any label."""
    train = "path,label\na.mp4,run;walk\nmore/b c.mp4,jump;walk\n"
    source = listed(own_videos, train, "path,label\nd.avi,run\n", ending="csv")
    assert source.classes == ("jump", "run", "walk")
    generator = torch.Generator().manual_seed(0)
    items = [
        {
            "clips": torch.randint(256, (2, 4, 3, 2, 4, 4), dtype=torch.uint8, generator=generator),
            "targets": label_vector(video.labels, 3),
            "video_id": video.video_id,
        }
        for video in source.records("train")
    ]
    rewards = []

    def estimator(log_policy, *, uniforms, reward):
        action = torch.zeros(log_policy.shape[:2], dtype=torch.long)
        rewards.append(reward(action))
        return Estimate(log_policy.sum() * 0, action, rewards[-1], rewards[-1])

    model = make_dsn(estimator=estimator, classifier_optimizer=sgd(1e-12), gamma=0.5)
    torch.nn.init.zeros_(model.classifier.fc.weight)
    scores = torch.tensor([0.1, 0.7, 0.2])  # of jump, run, walk, for every clip: the answer is run
    model.classifier.fc.bias.data = scores.log()
    losses = []
    model.means.update = lambda name, value, weight=1.0: losses.append((name, float(value)))
    fit(model, epochs=1, loader=DataLoader(items, batch_size=2))
    log = scores.log()
    expected = -((log[1] + log[2]) / 2 + (log[0] + log[2]) / 2) / 2
    assert dict(losses)["train/classifier_loss"] == pytest.approx(float(expected), abs=1e-5)
    assert torch.allclose(rewards[0], torch.tensor([[0.7, 0.7], [-0.5, -0.5]]), atol=1e-5)


def test_a_background_video_is_a_negative_of_every_class_and_has_no_right_answer():
    targets = torch.stack([label_vector(labels, 3) for labels in ((0,), (1, 2), (), (2,))])
    scores = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.9, 0.06, 0.04], [0.2, 0.2, 0.6]])
    assert targets[2].tolist() == [0, 0, 0]
    assert top_k_accuracy(scores, targets, k=1) == pytest.approx(2 / 3)
    assert mean_class_accuracy(scores, targets) == pytest.approx((1 + 0 + 1 / 2) / 3)
    theirs = average_precision_score(targets.numpy() > 0, scores.numpy(), average="macro")
    assert mean_average_precision(scores, targets) == pytest.approx(theirs)
    assert mean_average_precision(scores, targets) < mean_average_precision(scores[[0, 1, 3]], targets[[0, 1, 3]])
    assert set(video_metrics(scores[2:3], targets[2:3]).values()) == {None}
