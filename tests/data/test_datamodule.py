"""Decoding, clips, data sets and the data module on real video files."""

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from conftest import grey_ramp, write_video
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.data.section_clips import label_vector
from dsn_lightning.datasets.folder import Folder
from dsn_lightning.datasets.needle import Needle
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.stateless_random import stateless_rng
from dsn_lightning.video.clip_reader import ClipReader, place_on_time_line
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoInfo, pack


def record(path: str = "v.mp4") -> VideoRecord:
    return VideoRecord("v", Path(path), (0,))


def test_resampling_shows_the_frame_on_display():
    video = place_on_time_line(record(), VideoInfo(50, 25.0, 8, 8), 10.0)
    assert video.num_frames == 20
    assert video.source[:5].tolist() == [0, 2, 5, 7, 10]  # at 0, 0.1, 0.2, ... s
    irregular = VideoInfo(3, 3 / 2.0, 8, 8, stamps=pack([0, 9, 10]), time_base=(1, 10))
    assert place_on_time_line(record(), irregular, 2.0).source.tolist() == [0, 0, 2, 2]


def test_each_frame_is_decoded_once_for_all_clips():
    asked = []

    def read(video, indices, size):
        asked.append(list(indices))
        return np.zeros((len(indices), *size, 3), np.uint8)

    reader = ClipReader(read, Crop((8, 8), 8), frames_per_clip=4, frame_stride=1)
    clips = reader(place_on_time_line(record(), VideoInfo(10, 25.0, 8, 8), None), np.array([[0, 2], [3, 6]]))
    assert clips.shape == (2, 2, 3, 4, 8, 8)
    assert asked == [list(range(10))]


def test_crop_is_the_same_for_all_frames_and_centred_in_testing():
    frames = np.broadcast_to(np.arange(10 * 12, dtype=np.uint8).reshape(1, 10, 12, 1), (5, 10, 12, 3))
    crop = Crop((10, 12), 6, scales=(1.0, 1.5), flip=0.5)
    assert crop(frames, None)[0, 0, 0, 0] == 2 * 12 + 3
    for seed in range(20):
        clip = crop(frames, stateless_rng(seed))
        assert clip.shape == (3, 5, 6, 6)
        assert clip.dtype == torch.uint8
        assert (clip == clip[:, :1]).all()


def test_crop_refuses_a_window_larger_than_the_frame():
    with pytest.raises(ValueError, match="does not fit"):
        Crop((8, 8), 8, scales=(1.5,))


def test_several_labels_share_the_target():
    assert label_vector([1, 2], 4).tolist() == [0, 0.5, 0.5, 0]


def make_data(source, tmp_path, *, workers: int = 0, seed: int = 0, **changes) -> SectionClipDataModule:
    arguments = {"num_sections": 2, "clips_per_section": 3, "test_num_sections": 2, "test_clips_per_section": 3,
                 "frames_per_clip": 4, "batch_size": 4}  # fmt: skip
    data = SectionClipDataModule(source, crop=Crop((34, 34), 32), num_workers=workers, seed=seed,
                                 prepared=tmp_path, **{**arguments, **changes})  # fmt: skip
    data.prepare_data()
    data.setup()
    return data


def small_needle(root: Path) -> Needle:
    return Needle(str(root), num_train=12, num_val=6, num_test=6)


def epoch_of(data: SectionClipDataModule, epoch: int) -> list[dict]:
    loader = data.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(epoch)
    return list(loader)


def test_batches_are_typed_as_promised(needle_root, tmp_path):
    batch = epoch_of(make_data(small_needle(needle_root), tmp_path), 0)[0]
    assert batch["clips"].shape == (4, 2, 3, 3, 4, 32, 32)
    assert batch["clips"].dtype == torch.uint8
    assert batch["targets"].shape == (4, 4)
    assert batch["targets"].sum(1).tolist() == [1] * 4
    assert batch["start_frame"].shape == (4, 2, 3)
    assert len(batch["video_id"]) == 4


def test_clips_do_not_depend_on_the_number_of_workers(needle_root, tmp_path):
    alone = epoch_of(make_data(small_needle(needle_root), tmp_path), 1)
    helped = epoch_of(make_data(small_needle(needle_root), tmp_path, workers=4), 1)
    for a, b in zip(alone, helped, strict=True):
        assert a["video_id"] == b["video_id"]
        assert torch.equal(a["start_frame"], b["start_frame"])
        assert torch.equal(a["clips"], b["clips"])


def test_epochs_and_seeds_differ(needle_root, tmp_path):
    data = make_data(small_needle(needle_root), tmp_path)
    first, second = epoch_of(data, 0), epoch_of(data, 1)
    other = epoch_of(make_data(small_needle(needle_root), tmp_path, seed=1), 0)
    assert [b["video_id"] for b in first] != [b["video_id"] for b in second]
    assert [b["video_id"] for b in first] != [b["video_id"] for b in other]


def test_validation_clips_are_centred_and_in_order(needle_root, tmp_path):
    data = make_data(small_needle(needle_root), tmp_path)
    once, again = list(data.val_dataloader()), list(data.val_dataloader())
    assert torch.equal(once[0]["clips"], again[0]["clips"])
    assert once[0]["video_id"] == [f"val_{i:04d}" for i in range(4)]


def digest(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_needle_repeats_byte_for_byte(needle_root, tmp_path):
    again = small_needle(tmp_path)
    again.prepare()
    assert digest(again.root) == digest(small_needle(needle_root).root)


def test_needles_folder_may_be_read_by_who_may_read_its_parent(tmp_path):
    tmp_path.chmod(0o755)
    source = Needle(str(tmp_path), num_train=1, num_val=1, num_test=1)
    source.prepare()
    assert source.root.stat().st_mode & 0o777 == 0o755


def test_needles_lengths_have_an_order(tmp_path):
    with pytest.raises(UsageError, match=r"dataset\.min_frames=200, dataset\.max_frames=176"):
        Needle(str(tmp_path), min_frames=200)


def test_needle_is_reused(needle_root):
    source = small_needle(needle_root)
    before = source.root.stat().st_mtime_ns
    source.prepare()
    assert source.root.stat().st_mtime_ns == before


def test_needle_is_h264_and_its_spans_fit(needle_root):
    source = small_needle(needle_root)
    for entry in source.records("test"):
        with av.open(str(entry.path)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
        info = PyAV().probe(entry.path)
        assert 144 <= info.num_frames <= 176
        assert entry.spans
        assert all(0 <= start < end <= info.duration + 1e-6 for start, end in entry.spans)


def test_needles_glimpses_mislead_in_half_of_the_videos(needle_root):
    rows = json.loads((small_needle(needle_root).root / "videos.json").read_text())
    right = [row["glimpsed"] == row["label"] for row in rows]
    assert 4 <= sum(right) <= 20  # of 24: binomial with p = 0.5
    for row in rows:
        (_, end), (start, _) = row["spans"]
        assert start - end >= 20


def test_needle_everywhere_shows_the_action_all_the_time(tmp_path):
    source = Needle(str(tmp_path), name="e", everywhere=True, num_train=6, num_val=0, num_test=2)
    source.prepare()
    for entry in source.records("test"):
        assert entry.spans == ((0.0, pytest.approx(PyAV().probe(entry.path).duration)),)
    assert source.records("val") == []


def test_needle_leaves_nothing_half_made(tmp_path, monkeypatch):
    source = small_needle(tmp_path)
    monkeypatch.setattr("dsn_lightning.datasets.needle._encode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        source.prepare()
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []
    monkeypatch.undo()
    source.prepare()
    assert len(source.records("train")) == 12


def sides(source: Folder) -> dict[str, set[str]]:
    return {s: {r.video_id for r in source.records(s)} for s in ("train", "val", "test")}


def test_folder_splits_by_fraction_in_every_class(class_folders):
    split = sides(Folder(str(class_folders), test_fraction=0.25, val_fraction=0.3))
    assert {s: len(v) for s, v in split.items()} == {"train": 4, "val": 2, "test": 2}
    assert {v.split("/")[0] for v in split["test"]} == {"walk", "run"}
    assert not split["train"] & split["test"]


def test_folder_keeps_groups_on_one_side(class_folders):
    split = sides(Folder(str(class_folders), test_fraction=0.5, group="^[a-z]+"))
    people = {s: {v.split("/")[1].split("_")[0] for v in ids} for s, ids in split.items()}
    assert len(people["test"]) == 2
    assert not people["train"] & people["test"]


def test_folder_splits_by_lists(class_folders, tmp_path):
    (tmp_path / "train.txt").write_text("walk/ann_walk.mp4\nrun/ann_run.mp4\n")
    (tmp_path / "test.txt").write_text("walk/bob_walk.mp4\n\n")
    source = Folder(str(class_folders), train_list=str(tmp_path / "train.txt"), test_list=str(tmp_path / "test.txt"))
    assert sides(source)["test"] == {"walk/bob_walk.mp4"}
    assert len(sides(source)["train"]) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root": None}, "dataset.root is not set"),
        ({"root": "/nowhere/at/all"}, "no such folder"),
        ({"test_fraction": 0}, "test_fraction=0"),
        ({"val_fraction": 1.0}, "val_fraction=1.0"),
        ({"group": "["}, "not a regular expression"),
        ({"group": "^[0-9]+"}, "finds nothing"),
        ({"group": "."}, None),
        ({"train_list": "x.txt"}, "needs both"),
        ({"train_list": "x.txt", "test_list": "y.txt"}, "no such file"),
    ],
)
def test_folder_says_what_is_wrong(class_folders, changes, message):
    arguments = {"root": str(class_folders), **changes}
    if message is None:
        Folder(**arguments)
        return
    with pytest.raises(UsageError, match=message):
        Folder(**arguments)


def test_folder_refuses_an_empty_class(class_folders, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_video(tmp_path / "a" / "x.mp4", grey_ramp(3))
    with pytest.raises(UsageError, match="holds no video"):
        Folder(str(tmp_path))


def test_folder_refuses_a_tested_class_without_training(class_folders, tmp_path):
    (tmp_path / "train.txt").write_text("walk/ann_walk.mp4\n")
    (tmp_path / "test.txt").write_text("run/bob_run.mp4\n")
    with pytest.raises(UsageError, match="no training video has it"):
        Folder(str(class_folders), train_list=str(tmp_path / "train.txt"), test_list=str(tmp_path / "test.txt"))


def test_real_videos_are_counted_by_decoding(real_data, tmp_path):
    root = real_data / "weizmann"
    source = Folder(str(root), group="^[a-z]+")
    data = make_data(source, tmp_path)
    videos = data.videos("test")
    assert len(source.classes) == 10
    people = {v.record.path.name.split("_")[0] for v in videos}
    assert not people & {v.record.path.name.split("_")[0] for v in data.videos("train")}
    with av.open(str(videos[0].record.path)) as container:
        assert videos[0].num_frames == sum(1 for _ in container.decode(video=0))
