"""Annotations that nobody should have written: one line of error, nothing outside of the root, no crash."""

import json
import os
from pathlib import Path

import pytest

from dsn_lightning.datasets import SUBSETS, ActivityNet, Folder, Hmdb51, Kinetics, Thumos14, Ucf101
from dsn_lightning.datasets.annotations import MAX_ANNOTATION_BYTES, union
from dsn_lightning.errors import UsageError
from helpers.dataset_files import (
    touch,
    write_activitynet,
    write_hmdb51,
    write_kinetics,
    write_thumos14,
    write_ucf101,
)

OUTSIDE = ("..", "../../outside", "/outside", "Archery/../../../outside", "a/\ud800", "x/../../..")


def replace_in(file: Path, old: str, new: str) -> None:
    file.write_bytes(file.read_bytes().replace(old.encode(), new.encode("utf-8", "surrogatepass")))


def damaged_ucf101(root: Path, path: str) -> Ucf101:
    lists = write_ucf101(root) / "ucfTrainTestlist"
    replace_in(lists / "classInd.txt", "Archery", path)
    for file in lists.glob("t*.txt"):
        replace_in(file, "Archery/v_Archery", f"{path}/v_Archery")
    return Ucf101(str(root))


def damaged_hmdb51(root: Path, path: str) -> Hmdb51:
    replace_in(write_hmdb51(root) / "splits/catch_test_split1.txt", "Dr._No!_#1 ", f"../{path}/x ")
    return Hmdb51(str(root))


def damaged_kinetics(root: Path, path: str) -> Kinetics:
    replace_in(write_kinetics(root) / "train.csv", "zumba,d", f"{path},d")
    return Kinetics(str(root))


def damaged_activitynet(root: Path, path: str) -> ActivityNet:
    replace_in(write_activitynet(root) / "activity_net.v1-3.min.json", '"b.2"', json.dumps(f"x/../../{path}"))
    return ActivityNet(str(root))


def damaged_thumos14(root: Path, path: str) -> Thumos14:
    known = {"subset": "validation", "annotations": [{"label": "Archery", "segment": [1, 2]}]}
    root.mkdir()
    content = {"database": {path: known, "b": known | {"subset": "test"}}}
    (root / "thumos14.json").write_text(json.dumps(content))
    return Thumos14(str(root))


def damaged_lists(root: Path, path: str) -> Folder:
    touch(root / "a.mp4")
    for name in ("train", "test"):
        lines = f"path,label\n{name}.mp4,1\na.mp4,0\n" if name == "test" else f"path,label\n{path},1\na.mp4,0\n"
        (root / f"{name}.csv").write_bytes(lines.encode("utf-8", "surrogatepass"))
    lists = {f"{name}_list": str(root / f"{name}.csv") for name in ("train", "test")}
    return Folder(str(root), **lists)


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize(
    "build", [damaged_ucf101, damaged_hmdb51, damaged_kinetics, damaged_activitynet, damaged_thumos14, damaged_lists]
)
def test_no_list_leads_out_of_the_root(tmp_path, monkeypatch, build, path):
    root = tmp_path / "data" / "root"
    root.parent.mkdir()
    looked: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place=".": looked.append(os.fspath(place)) or scandir(place))
    try:
        source = build(root, path)
        paths, message = [video.path for subset in SUBSETS for video in source.records(subset)], ""
    except UsageError as error:
        paths, message = [], str(error)
    assert "\n" not in message
    assert all(Path(os.path.normpath(path)).is_relative_to(root) for path in paths)
    assert [place for place in looked if not Path(os.path.normpath(place)).is_relative_to(root)] == []


def test_a_link_below_the_root_may_lead_out(tmp_path):
    root = write_ucf101(tmp_path / "root")
    (tmp_path / "elsewhere").mkdir()
    touch(tmp_path / "elsewhere/v_Archery_g08_c01.avi")
    (root / "UCF-101/Archery").symlink_to(tmp_path / "elsewhere")
    paths = {video.path for video in Ucf101(str(root)).records("train")}
    assert root / "UCF-101/Archery/v_Archery_g08_c01.avi" in paths


@pytest.mark.parametrize("time", ["NaN", "Infinity", "1e308", "-1e308", "1e9", '"1e400"', "null", "[1]", "true9"])
def test_times_are_finite(tmp_path, time):
    replace_in(write_activitynet(tmp_path) / "activity_net.v1-3.min.json", "[1.5, 4.0]", f"[1.5, {time}]")
    with pytest.raises(UsageError, match=r"activity_net\.v1-3\.min\.json: "):
        ActivityNet(str(tmp_path))


@pytest.mark.parametrize("time", ["nan", "inf", "1e308", "x", ""])
def test_times_in_tables_are_finite(tmp_path, time):
    replace_in(write_kinetics(tmp_path) / "train.csv", "zumba,d,1,11", f"zumba,d,1,{time}")
    with pytest.raises(UsageError, match=r"train\.csv: unexpected format"):
        Kinetics(str(tmp_path))


def test_spans_begin_with_the_video():
    assert union([(-5, 1), (2, 3), (-2, -1)]) == ((0.0, 1.0), (2.0, 3.0))


@pytest.mark.parametrize("kind", ["pipe", "zeros", "large", "deep", "bytes", "null", "field"])
def test_lists_are_read_within_limits(tmp_path, kind):
    """The list of each data set that reads text, JSON or CSV."""
    files = {
        Ucf101: write_ucf101(tmp_path / "u") / "ucfTrainTestlist/classInd.txt",
        Kinetics: write_kinetics(tmp_path / "k") / "train.csv",
        ActivityNet: write_activitynet(tmp_path / "a") / "activity_net.v1-3.min.json",
    }
    for build, file in files.items():
        file.unlink()
        if kind == "pipe":
            os.mkfifo(file)
        elif kind == "zeros":
            file.symlink_to("/dev/zero")
        elif kind == "large":
            with open(file, "wb") as sparse:
                sparse.truncate(MAX_ANNOTATION_BYTES + 1)
        else:
            content = {"deep": "[" * 100_000, "bytes": "\udcff" * 9, "null": "a\0b", "field": '"' + "a," * 200_000}
            file.write_bytes(content[kind].encode("utf-8", "surrogateescape"))
        root = tmp_path / file.relative_to(tmp_path).parts[0]
        with pytest.raises(UsageError) as caught:
            build(str(root))
        assert len(str(caught.value).splitlines()) == 1


CHANGES = ({383: 149, 745: 55}, {568: 120, 1315: 214}, {645: 166, 982: 220, 1042: 15, 1145: 15}, {504: 167, 734: 149})
"""Position -> byte, each of which ends SciPy 1.17's reader with a segmentation fault."""


@pytest.mark.parametrize("changes", CHANGES, ids=range(len(CHANGES)))
def test_a_matlab_file_that_crashes_its_reader_is_one_line(tmp_path, changes):
    file = write_thumos14(tmp_path) / "validation_set_meta" / "validation_set.mat"
    content = bytearray(file.read_bytes())
    for position, byte in changes.items():
        content[position] = byte
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"validation_set\.mat: cannot be read as a MATLAB file \(") as caught:
        Thumos14(str(tmp_path))
    assert len(str(caught.value).splitlines()) == 1


def test_a_matlab_file_that_never_ends_is_one_line(tmp_path):
    file = write_thumos14(tmp_path) / "validation_set_meta" / "validation_set.mat"
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UsageError, match=r"validation_set\.mat: not a regular file"):
        Thumos14(str(tmp_path))
