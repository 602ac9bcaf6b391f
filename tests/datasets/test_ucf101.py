"""UCF101: the official lists, its two spellings, and where files are found."""

import pytest

from dsn_lightning.datasets.ucf101 import Ucf101
from dsn_lightning.errors import UsageError
from helpers.dataset_files import by_id, ids, write_ucf101

SUBSETS = ("train", "val", "test")


@pytest.mark.parametrize(("split", "train", "test"), [(1, 9537, 3783), (2, 9586, 3734), (3, 9624, 3696)])
def test_the_lists_have_the_official_counts(real_data, split, train, test):
    source = Ucf101(str(real_data / "ucf101"), split=split)
    assert len(source.classes) == 101
    assert (source.classes[0], source.classes[-1]) == ("ApplyEyeMakeup", "YoYo")
    assert [len(source.records(subset)) for subset in SUBSETS] == [train, 0, test]
    assert Ucf101.official_counts(split=split, root="any") == {"train": train, "test": test}
    assert not ids(source.records("train")) & ids(source.records("test"))
    groups = [{video.group for video in source.records(subset)} for subset in ("train", "test")]
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == 101 * 25
    assert all(label in range(101) for s in SUBSETS for video in source.records(s) for label in video.labels)


def test_real_files_are_found_and_missing_ones_kept(real_data):
    source = Ucf101(str(real_data / "ucf101"))
    present = [video for video in source.records("test") if video.path.is_file()]
    assert len(present) == len(list((real_data / "ucf101" / "UCF-101").glob("*/*.avi"))) == 23
    for video in present:
        assert source.classes[video.labels[0]] == video.path.parent.name
    missing = by_id(source, "train")["Archery/v_Archery_g08_c01"]
    assert missing.path == real_data / "ucf101" / "UCF-101" / "Archery" / "v_Archery_g08_c01.avi"
    assert not missing.path.exists()
    assert missing.group == "Archery/g08"


@pytest.mark.parametrize("folder", ["UCF-101", "videos", "."])
def test_two_spellings_of_handstand_are_one_class(tmp_path, folder):
    """The class list has HandstandPushups, the file names HandStandPushups."""
    source = Ucf101(str(write_ucf101(tmp_path, folder=folder)))
    video = by_id(source, "train")["HandstandPushups/v_HandStandPushups_g08_c01"]
    assert video.path.is_file()
    assert source.classes[video.labels[0]] == "HandstandPushups"
    assert len(source.classes) == 101


def test_containers_and_the_case_of_class_folders_may_differ(tmp_path):
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


def test_a_list_that_contradicts_the_class_list_is_refused(tmp_path):
    write_ucf101(tmp_path)
    file = tmp_path / "ucfTrainTestlist" / "trainlist01.txt"
    file.write_text(file.read_text().replace("c01.avi 2\n", "c01.avi 3\n"))
    with pytest.raises(UsageError, match=r"Archery.*contradicts classInd\.txt"):
        Ucf101(str(tmp_path))
