"""List files: lines and CSV tables, their labels, segments and groups, and what is refused."""

from pathlib import Path

import pytest

from dsn_lightning.datasets.folder import Folder
from dsn_lightning.datasets.list_files import read_list
from dsn_lightning.errors import UsageError
from helpers.dataset_files import by_id, folder_of_lists, ids, touch, touch_videos

SUBSETS = ("train", "val", "test")


@pytest.fixture
def user_videos(tmp_path: Path) -> Path:
    return touch_videos(tmp_path / "data")


@pytest.mark.parametrize("seed", range(5))
def test_a_share_of_the_training_list_is_held_out(user_videos, seed):
    train = "path,label,start,end\n" + "".join(f"{i}.mp4,run,{t},{t + 1}\n" for i in range(4) for t in (0, 2))
    train += "".join(f"{i}.avi,walk,,\n" for i in range(4)) + "a.mp4,run,,\na.mp4,run,3,4\n"
    source = folder_of_lists(
        user_videos, train, "path,label\nd.avi,run\n", extension="csv", val_fraction=0.25, seed=seed
    )
    held_out, trained = source.records("val"), source.records("train")
    assert len({video.path for video in held_out}) == 2  # of nine files
    assert len(held_out) + len(trained) == 14
    assert not {video.path for video in held_out} & {video.path for video in trained}
    assert len(source.records("test")) == 1


@pytest.mark.parametrize("seed", range(5))
def test_every_class_keeps_a_training_video(user_videos, seed):
    train = "".join(f"{label}_{i}.mp4 {label}\n" for label in range(20) for i in range(2)) + "a.mp4 0\n"
    source = folder_of_lists(user_videos, train, "d.avi 0\n", val_fraction=0.4, seed=seed)
    assert {label for video in source.records("train") for label in video.labels} == {*range(20)}
    assert 0 < len(source.records("val")) <= 16
    assert len(source.records("train")) + len(source.records("val")) == 41


def test_val_fraction_and_val_list_exclude_each_other(user_videos, tmp_path):
    (tmp_path / "val.txt").write_text("d.avi run\n")
    more = {"val_list": str(tmp_path / "val.txt"), "val_fraction": 0.2}
    with pytest.raises(UsageError, match=r"dataset\.val_fraction=0\.2: cannot be combined with dataset\.val_list="):
        folder_of_lists(user_videos, "a.mp4 run\nmore/b c.mp4 walk\n", "b.avi run\n", **more)


def test_list_lines_end_with_the_label(user_videos):
    source = folder_of_lists(user_videos, "more/b c.mp4 walk\na.mp4 run\n", "d.avi run\nnot there.mp4 walk\n")
    assert source.classes == ("run", "walk")
    assert [(v.video_id, v.labels) for v in source.records("train")] == [("more/b c.mp4", (1,)), ("a.mp4", (0,))]
    assert [v.path.exists() for v in source.records("test")] == [True, False]


def test_list_labels_may_be_numbers(user_videos, tmp_path):
    source = folder_of_lists(user_videos, "a.mp4 10\nmore/b c.mp4 9\n", "d.avi 10\n")
    assert source.classes == ("9", "10")
    assert source.records("test")[0].labels == (1,)
    names = tmp_path / "names.txt"
    names.write_text("brush hair\nrun\n")
    source = folder_of_lists(user_videos, "a.mp4 1\nmore/b c.mp4 0\n", "d.avi run\n", classes=str(names))
    assert source.classes == ("brush hair", "run")
    assert source.records("train")[1].labels == (0,)
    assert source.records("test")[0].labels == (1,)


def test_csv_lists_give_several_labels_segments_and_groups(user_videos):
    source = folder_of_lists(
        user_videos,
        "path,label,start,end,group\na.mp4,run;jump,0,2.5,ann\na.mp4,walk,2.5,4,ann\nmore/b c.mp4,walk,,,\n",
        'path,label\nd.avi,"jump; walk"\n',
        extension="csv",
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
    source = folder_of_lists(tmp_path / "data", "walk/c.mp4\nrun/a.mp4\n", "walk/d.mp4\n")
    assert source.classes == ("run", "walk")
    assert source.records("test")[0].labels == (1,)


def test_a_listed_file_may_be_a_folder_of_its_frames(tmp_path):
    for folder in ("run/a", "walk/b", "walk/c"):
        touch(tmp_path / "data" / folder / "img_00001.jpg")
    for ending in ("", ".avi"):
        source = folder_of_lists(
            tmp_path / "data", f"run/a{ending}\nwalk/b{ending}\n", f"walk/c{ending}\nrun/gone{ending}\n"
        )
        assert source.classes == ("run", "walk")
        assert ids(source.records("train")) == {f"run/a{ending}", f"walk/b{ending}"}


@pytest.mark.parametrize(
    ("train", "test", "extension", "message"),
    [
        ("x.mp4 run\n", "d.avi run\n", "txt", "none of its 1 files is below"),
        ("a.mp4 run\nmore/b c.mp4\n", "d.avi run\n", "txt", "'more/b c.mp4' has no label"),
        ("a.mp4 run\nmore/b c.mp4 walk\n", "d.avi sit\n", "txt", "label 'sit', which is not one of the classes"),
        ("a.mp4 9\nmore/b c.mp4 10\n", "d.avi 0\n", "txt", "label '0', which is not one of the classes"),
        ("a.mp4 run\nmore/b c.mp4 walk\n", "a.mp4 run\n", "txt", "is also in the train list"),
        ("a.mp4 run\n", "d.avi run\n", "txt", "needs at least two classes"),
        ("a.mp4 run\n../e.mp4 walk\n", "d.avi run\n", "txt", "is outside of"),
        ("a.mp4\n", "d.avi\n", "txt", "neither a label nor a class folder"),
        ("more/b c.mp4\n", "d.avi run\n", "txt", "only some of the lists have labels"),
        ("\n", "d.avi run\n", "txt", "the list is empty"),
        ("file,label\na.mp4,run\n", "path\n", "csv", r"expected the header path\[,label\]"),
        ("path,label\n", "path,label\n", "csv", "the list is empty"),
        ("path,label\na.mp4,\n", "path,label\n", "csv", r"line 2: 'a\.mp4' has no label"),
        ("path,label,start,end\na.mp4,run,3,2\n", "path,label\n", "csv", "must be seconds with 0 <= start < end"),
        ("path,label,start,end\na.mp4,run,3,\n", "path,label\n", "csv", "start=3, end="),
        ("path,label\na.mp4,run,walk\n", "path,label\n", "csv", "too many cells"),
    ],
)
def test_malformed_lists_are_refused_in_one_line(user_videos, train, test, extension, message):
    with pytest.raises(UsageError, match=message) as caught:
        folder_of_lists(user_videos, train, test, extension=extension)
    assert "\n" not in str(caught.value)


def test_a_class_list_needs_list_files(class_folders, tmp_path):
    with pytest.raises(UsageError, match="needs list files"):
        Folder(str(class_folders), classes=str(tmp_path / "names.txt"))


def test_a_header_with_an_open_quote_is_refused_in_one_short_line(tmp_path):
    (tmp_path / "list.csv").write_text('"ath,label\n' + "a.mp4,walk\n" * 1000)
    with pytest.raises(UsageError, match="expected the header") as caught:
        read_list(tmp_path / "list.csv")
    assert len(str(caught.value)) < 250 + len(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_root_of_the_file_system_is_no_video(user_videos):
    with pytest.raises(UsageError, match=r"'/' is outside of dataset\.root="):
        folder_of_lists(user_videos, "a.mp4 run\n/ walk\n", "d.avi run\n")
