"""ActivityNet: classes, labels and spans from the annotation file."""

import json

import pytest

from dsn_lightning.datasets.activitynet import ActivityNet
from dsn_lightning.errors import UsageError
from helpers.dataset_files import ids, touch, write_activitynet

SUBSETS = ("train", "val", "test")


def test_classes_are_the_sorted_leaves_of_the_taxonomy(tmp_path):
    source = ActivityNet(str(write_activitynet(tmp_path)))
    assert source.classes == ("Archery", "Ironing", "Zumba")
    assert ids(source.records("train")) == {"-a_1"}
    (video,) = source.records("test")
    assert video.labels == (0, 1)
    assert video.spans == ((1.0, 8.0), (9.0, 10.0))  # overlapping segments cover their time once


@pytest.mark.parametrize("file", ["videos/v_b.2.mkv", "videos/b.2.webm", "v_b.2.mp4"])
def test_files_are_found_with_and_without_prefix(tmp_path, file):
    touch(tmp_path / file)
    assert ActivityNet(str(write_activitynet(tmp_path))).records("test")[0].path == tmp_path / file


def test_videos_without_annotations_are_left_out_with_a_warning(tmp_path):
    source = ActivityNet(str(write_activitynet(tmp_path)))
    with pytest.warns(UserWarning, match=r"left out 1 videos of the labelled subsets .* no annotations \(none\)"):
        source.prepare()


def test_a_label_outside_of_the_taxonomy_is_refused(tmp_path):
    file = write_activitynet(tmp_path) / "activity_net.v1-3.min.json"
    file.write_text(file.read_text().replace('"label": "Archery"', '"label": "Sports"'))
    with pytest.raises(UsageError, match=r"video b\.2 has the label 'Sports'"):
        ActivityNet(str(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"label": "Archery"', '"name": "Archery"', "an entry has no field 'label'"),
        ("[1.0, 4.0]", "[1.0]", "unexpected format"),
        ('"b.2"', '"/../../b.2"', r"'/\.\./\.\./b\.2' is outside of dataset\.root="),
    ],
)
def test_annotations_with_an_unexpected_format_are_refused(tmp_path, old, new, message):
    file = write_activitynet(tmp_path / "root") / "activity_net.v1-3.min.json"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(UsageError, match=message) as caught:
        ActivityNet(str(tmp_path / "root"))
    assert str(caught.value).startswith(str(file))


def test_labels_and_spans_of_the_real_files(real_data):
    root = real_data / "activitynet"
    source = ActivityNet(str(root))
    source.prepare()  # warns of nothing
    database = json.loads((root / "activity_net.v1-3.min.json").read_text())["database"]
    assert {subset: len(source.records(subset)) for subset in SUBSETS} == {"train": 360, "val": 0, "test": 400}
    for video in (*source.records("train"), *source.records("test")):
        assert video.path.is_file()
        assert {source.classes[label] for label in video.labels} == {
            annotation["label"] for annotation in database[video.video_id]["annotations"]
        }
        assert all(0 <= start < end for start, end in video.spans)
