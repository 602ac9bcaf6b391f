"""What the readers of annotated data sets share: held-out groups, spans, folders of frames, one-line errors."""

import pytest

from dsn_lightning.datasets.activitynet import ActivityNet
from dsn_lightning.datasets.annotations import union
from dsn_lightning.datasets.hmdb51 import Hmdb51
from dsn_lightning.datasets.kinetics import Kinetics
from dsn_lightning.datasets.thumos14 import Thumos14
from dsn_lightning.datasets.ucf101 import Ucf101
from dsn_lightning.errors import UsageError
from helpers.dataset_files import (
    ids,
    touch,
    write_activitynet,
    write_hmdb51,
    write_kinetics,
    write_thumos14,
    write_ucf101,
)

SUBSETS = ("train", "val", "test")


def test_a_table_of_annotations_has_few_columns(tmp_path):
    """Each short line below them would be filled up to their number."""
    (write_kinetics(tmp_path) / "train.csv").write_text("label," + ",".join(map(str, range(10_000))) + "\na\n")
    with pytest.raises(UsageError, match=r"train\.csv: expected at most 100 columns, got 10001"):
        Kinetics(str(tmp_path))


def test_a_share_of_the_groups_is_held_out(tmp_path):
    root = str(write_hmdb51(tmp_path))
    source = Hmdb51(root, val_fraction=0.25, seed=3)
    sizes = {subset: len(source.records(subset)) for subset in SUBSETS}
    assert sizes == {"train": 102 - 26, "val": 26, "test": 51}
    assert not {v.group for v in source.records("val")} & {v.group for v in source.records("train")}
    assert ids(source.records("val")) == ids(Hmdb51(root, val_fraction=0.25, seed=3).records("val"))
    assert ids(source.records("val")) != ids(Hmdb51(root, val_fraction=0.25, seed=4).records("val"))


def test_overlapping_segments_cover_their_time_once():
    assert union([(1, 8), (2, 3), (8, 9), (12, 11)]) == ((1.0, 9.0),)


def test_frames_in_a_folder_count_where_there_is_no_file(tmp_path):
    touch(tmp_path / "videos" / "v_b.2" / "img_00001.jpg")
    root = str(write_activitynet(tmp_path))
    assert ActivityNet(root).records("test")[0].path == tmp_path / "videos" / "v_b.2"
    file = touch(tmp_path / "videos" / "v_b.2.mp4")
    assert ActivityNet(root).records("test")[0].path == file


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: Ucf101(None), r"dataset\.root is not set: expected the folder that contains UCF-101/"),
        (lambda p: Ucf101(str(p / "no")), r"dataset\.root=.*: no such folder"),
        (lambda p: Ucf101(str(p)), r"no annotations found .*dataset\.annotations=PATH"),
        (lambda p: Ucf101(str(p), annotations=str(p / "no")), r"dataset\.annotations=.*: no such file or folder"),
        (lambda p: Ucf101(str(p), annotations=str(p)), r"classInd\.txt: no such file"),
        (lambda p: Ucf101(str(write_ucf101(p)), split=4), r"dataset\.split=4: must be 1, 2 or 3"),
        (lambda p: Ucf101(str(write_ucf101(p)), val_fraction=1), r"dataset\.val_fraction=1: must be"),
        (lambda p: Hmdb51(str(p)), "no annotations found"),
        (lambda p: Hmdb51(str(p), split=0), r"dataset\.split=0"),
        (lambda p: Hmdb51(str(p), annotations=str(p)), r"expected 51 lists \*_test_split1\.txt, got 0"),
        (lambda p: ActivityNet(str(p)), "no annotations found"),
        (lambda p: ActivityNet(str(p), annotations=str(touch(p / "x.json"))), r"x\.json: cannot be read as JSON"),
        (lambda p: Thumos14(str(p)), "no annotations found"),
        (lambda p: Thumos14(str(write_thumos14(p)), train_on="test"), r"dataset\.train_on=test: must be one of"),
        (lambda p: Thumos14(str(p), train_on="training+validation"), r"set dataset\.ucf101_root"),
        (lambda p: Thumos14(str(touch(p / "validation_set.mat").parent)), "cannot be read as a MATLAB file"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(tmp_path, make, message):
    with pytest.raises(UsageError, match=message) as caught:
        make(tmp_path)
    assert "\n" not in str(caught.value)
