"""Kinetics' official lists: clips, classes and files."""

from pathlib import Path

import pytest

from dsn_lightning.datasets import Kinetics
from dsn_lightning.errors import UsageError
from helpers.dataset_files import by_id, ids, touch, write_kinetics


def test_clips_are_named_as_the_official_tools_name_their_files(tmp_path: Path):
    source = Kinetics(str(write_kinetics(tmp_path)))
    train = by_id(source, "train")
    assert list(source.classes) == ["abseiling", "riding a bike", "zumba"]
    assert {clip: (record.labels, record.group) for clip, record in train.items()} == {
        "-3B32lodo_000059_000069": ((0,), "-3B32lodo"),
        "b_c_000000_000010": ((1,), "b_c"),
        "-3B32lodo_000070_000080": ((0,), "-3B32lodo"),
        "d_000001_000011": ((2,), "d"),
    }
    assert ids(source.records("test")) == {"e_000999_001009", "f_000002_000012"}


@pytest.mark.parametrize("place", ["train", "train/riding a bike", "train/riding_a_bike", "videos", "."])
def test_files_may_be_together_or_by_class(tmp_path: Path, place: str):
    file = touch(write_kinetics(tmp_path) / place / "b_c_000000_000010.webm")
    record = by_id(Kinetics(str(tmp_path)), "train")["b_c_000000_000010"]
    assert record.path == file.resolve() or record.path.samefile(file)


def test_missing_files_are_named_where_they_are_expected(tmp_path: Path):
    touch(write_kinetics(tmp_path) / "val" / "x.mp4")
    test = by_id(Kinetics(str(tmp_path)), "test")
    assert test["f_000002_000012"].path == tmp_path / "val" / "f_000002_000012.mp4"


def test_lists_may_be_elsewhere_and_have_more_columns(tmp_path: Path):
    """Kinetics-400's lists have the column is_cc, and another mirror names the second list val.csv."""
    lists = write_kinetics(tmp_path / "lists", columns="split,is_cc")
    (lists / "validate.csv").rename(lists / "val.csv")
    root = tmp_path / "videos_only"
    root.mkdir()
    assert len(Kinetics(str(root), annotations=str(lists)).records("test")) == 2


def test_held_out_clips_share_no_video_with_the_training(tmp_path: Path):
    source = Kinetics(str(write_kinetics(tmp_path)), val_fraction=0.5)
    kept, held_out = ({record.group for record in source.records(subset)} for subset in ("train", "val"))
    assert kept
    assert held_out
    assert not kept & held_out


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"train": ["a,x,0,10"]}, r"validate\.csv: no such file"),
        ({"train": ["a,x,0,10"], "validate": ["b,y,0,10"]}, "no training clip has the label 'b'"),
        ({"train": ["a,x,0,10"], "validate": [",y,0,10"]}, "the clip y has no label"),
        ({"train": ["a,x,zero,10"], "validate": ["a,y,0,10"]}, r"train\.csv: unexpected format"),
        ({"train": ["a,x,0,10", "a,x,0,10"], "validate": ["a,y,0,10"]}, "'x_000000_000010' twice"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, rows: dict[str, list[str]], message: str):
    with pytest.raises(UsageError, match=message):
        Kinetics(str(write_kinetics(tmp_path, rows=rows)))


def test_wrong_columns_and_missing_lists_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="no annotations found"):
        Kinetics(str(tmp_path))
    write_kinetics(tmp_path)
    (tmp_path / "train.csv").write_text("youtube_id,time_start,time_end,split\nx,0,10,train\n")
    with pytest.raises(UsageError, match="missing: label"):
        Kinetics(str(tmp_path))
