"""HMDB51: the official lists, literal file names, groups."""

import csv
import re
from collections import Counter

import pytest

from dsn_lightning.datasets.hmdb51 import Hmdb51
from helpers.dataset_files import by_id, touch, write_hmdb51

SUBSETS = ("train", "val", "test")


@pytest.mark.parametrize("split", [1, 2, 3])
def test_the_lists_have_the_official_counts(real_data, split):
    source = Hmdb51(str(real_data / "hmdb51"), split=split)
    assert len(source.classes) == 51
    assert [len(source.records(subset)) for subset in SUBSETS] == [3570, 0, 1530]
    assert Hmdb51.official_counts(split=split) == {"train": 3570, "test": 1530}
    assert set(Counter(video.labels for video in source.records("test")).values()) == {30}
    groups = [{video.group for video in source.records(subset)} for subset in ("train", "test")]
    assert not groups[0] & groups[1]
    assert None not in groups[0] | groups[1]


def test_records_agree_with_the_table_of_the_real_clips(real_data):
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
    present = {subset: sum(video.path.is_file() for video in found.values()) for subset, found in videos.items()}
    assert present == {"train": 665, "test": 257}


def test_awkward_file_names_are_taken_literally(tmp_path):
    root = write_hmdb51(tmp_path)
    name = "Dr._No!_#0 (part; 0)_catch_f_cm_np10_le_bad_0"
    file = touch(root / "hmdb51_org" / "catch" / f"{name}.avi")
    videos = by_id(Hmdb51(str(root)), "train")
    assert len(videos) == 102
    assert videos[f"catch/{name}"].path == file
    assert videos[f"catch/{name}"].group == "catch/Dr._No!_#0 (part; 0)"
    assert videos[f"catch/{name}"].labels == (1,)


@pytest.mark.parametrize("place", ["testTrainMulti_7030_splits", "test_train_splits/testTrainMulti_7030_splits"])
def test_lists_are_found_where_the_archives_put_them(tmp_path, place):
    root = write_hmdb51(tmp_path / "data")
    (root / place).parent.mkdir(exist_ok=True)
    (root / "splits").rename(root / place)
    assert len(Hmdb51(str(root)).records("test")) == 51
    (root / place).rename(tmp_path / "elsewhere")
    assert len(Hmdb51(str(root), annotations=str(tmp_path / "elsewhere")).records("test")) == 51
