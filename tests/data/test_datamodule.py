"""The data module: batches of section clips of real video files."""

from pathlib import Path

import av
import torch

from dsn_lightning.data.datamodule import BatchLoading, ClipScheme, SectionClipDataModule
from dsn_lightning.datasets.folder import Folder
from dsn_lightning.datasets.needle import Needle
from dsn_lightning.video.crops import Crop


def make_data(source, tmp_path, *, workers: int = 0, seed: int = 0, **loading: bool) -> SectionClipDataModule:
    data = SectionClipDataModule(
        source,
        crop=Crop((34, 34), 32),
        scheme=ClipScheme(2, 3, 2, 3, frames_per_clip=4),
        loading=BatchLoading(batch_size=4, num_workers=workers, **loading),
        prepared=tmp_path,
        seed=seed,
    )
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


def test_epochs_to_overfit_have_the_batches_of_the_first_one(needle_root, tmp_path):
    usual = epoch_of(make_data(small_needle(needle_root), tmp_path), 0)
    data = make_data(small_needle(needle_root), tmp_path, same_batches=True)
    for epoch in (0, 1, 7):
        for given, expected in zip(epoch_of(data, epoch), usual, strict=True):
            assert given["video_id"] == expected["video_id"]
            assert torch.equal(given["start_frame"], expected["start_frame"])
            assert torch.equal(given["clips"], expected["clips"])


def test_validation_clips_are_centred_and_in_order(needle_root, tmp_path):
    data = make_data(small_needle(needle_root), tmp_path)
    once, again = list(data.val_dataloader()), list(data.val_dataloader())
    assert torch.equal(once[0]["clips"], again[0]["clips"])
    assert once[0]["video_id"] == [f"val_{i:04d}" for i in range(4)]


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
