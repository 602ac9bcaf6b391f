"""crop_on_device: clips that are cut after the transfer are those that the loader cuts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dsn_lightning.config.build import build_datamodule
from dsn_lightning.data.batches import Draw
from dsn_lightning.data.section_clips import SectionClips, collate
from dsn_lightning.data.uncut_batches import cut_clips
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.stateless_random import stateless_rng
from dsn_lightning.video import crops
from dsn_lightning.video.clip_reader import ClipReader
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.time_line import place_on_time_line
from dsn_lightning.video.video_info import VideoInfo
from helpers.synthetic import composed

NUMBER = 6
SCALES = (1.143, 1.0, 0.857, 0.75)


def noise(video, indices, size, channels):
    rng = stateless_rng("noise", video.file.name)
    frames = rng.integers(0, 256, (video.info.num_frames, *size, channels), np.uint8)
    return frames[indices]


def section_clips(crop: Crop, *, channels: int = 3, uncut: bool = False, warmup: int = 0) -> SectionClips:
    """Videos of 20, 23, ... frames of noise, whose sizes differ before they are scaled."""
    videos = []
    for i in range(NUMBER):
        info = VideoInfo(num_frames=20 + 3 * i, fps=25.0, width=60 + 10 * i, height=50)
        videos.append(place_on_time_line(VideoRecord(f"v{i}", Path(f"v{i}.mp4"), (i % 2,)), info, None))
    read = lambda video, indices, size: noise(video, indices, size, channels)  # noqa: E731
    reader = ClipReader(read, crop, 4, 1, channels)
    return SectionClips(
        videos,
        reader,
        num_classes=2,
        num_sections=2,
        clips_per_section=3,
        placement="starts",
        seed=3,
        warmup_epochs=warmup,
        uncut=uncut,
    )


def batches(crop: Crop, epoch: int = 0, **options) -> tuple[dict, torch.Tensor]:
    """The loader's batch, and the clips of the uncut one."""
    draws = [Draw(epoch, v) for v in range(NUMBER)]
    expected, uncut = (
        collate([clips[draw] for draw in draws])
        for clips in (section_clips(crop, **options), section_clips(crop, uncut=True, **options))
    )
    assert "clips" not in uncut
    assert torch.equal(uncut["start_frame"], expected["start_frame"])
    assert uncut["video_id"] == expected["video_id"]
    return expected, cut_clips(uncut["uncut"], crop.crop_size).unflatten(0, expected["start_frame"].shape)


@pytest.mark.parametrize("channels", [3, 2], ids=["RGB", "flow"])
@pytest.mark.parametrize("resize", ["squash", "letterbox"])
@pytest.mark.parametrize("corners", [True, False], ids=["corners", "anywhere"])
def test_the_same_clips_to_the_last_bit(corners, resize, channels):
    crop = Crop((40, 48), 32, SCALES, flip=0.5, corners=corners, resize=resize)
    expected, clips = batches(crop, channels=channels)
    assert torch.equal(clips, expected["clips"])
    assert len(torch.unique(expected["clips"][:, 0, 0, 0, 0], dim=0)) == NUMBER  # not the same clip again and again


def test_the_same_clips_in_a_warm_up():
    expected, clips = batches(Crop((40, 48), 32, SCALES, flip=0.5, corners=True), warmup=1)
    assert clips.shape[1:3] == (2, 1)
    assert torch.equal(clips, expected["clips"])


def test_a_frame_is_sent_once():
    """Neighbouring clips share frames."""
    crop = Crop((40, 48), 32)
    uncut = collate([section_clips(crop, uncut=True)[Draw(0, v)] for v in range(NUMBER)])["uncut"]
    of_clips = NUMBER * 2 * 3 * 4
    assert uncut["frames"].shape[1:] == (40, 48, 3)
    assert len(uncut["frames"]) < of_clips
    assert len(torch.unique(uncut["windows"][32]["rows"])) == len(uncut["frames"])


def test_float_scaling_differs_by_rounding_alone():
    """Devices that cannot scale 8-bit numbers scale floating-point ones."""
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (16, 3, 84, 84), np.uint8))
    whole, rounded = crops.scaled(pixels, 112).int(), crops._scaled_as_float(pixels, 112)
    assert rounded.dtype == torch.uint8
    difference = whole - rounded.int()
    assert difference.abs().max() == 1  # two roundings, of rows and columns, in place of one
    assert abs(difference.float().mean()) < 0.2


@pytest.mark.parametrize("workers", [(0, None), (2, "fork"), (2, "thread")], ids=str)
def test_batches_of_a_training_have_clips_after_the_transfer(workers, needle_set):
    made = [f"dataset.root={needle_set}", "dataset.num_train=12", "dataset.num_val=6", "dataset.num_test=6"]
    made += ["schedule.batch_size=4", "M=2", "N=3", "algorithm.warmup_epochs=0"]
    made += ["dataset.reading.scales=[1.0,0.75]", "dataset.reading.flip=0.5"]
    made += [f"num_workers={workers[0]}", f"start_workers={workers[1] or 'null'}"]
    found = []
    for more in ([], ["dataset.reading.crop_on_device=true"]):
        data = build_datamodule(composed(*made, *more))
        data.prepare_data()
        data.setup()
        found.append([data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()])
        held_out = next(iter(data.val_dataloader()))
        assert data.on_after_batch_transfer(held_out, 0) is held_out
    for expected, batch in zip(*found, strict=True):
        assert batch.keys() == expected.keys()
        assert torch.equal(batch["clips"], expected["clips"])


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["dataset.reading.resize=short_side"], "set dataset.reading.resize=squash or letterbox"),
        (["backbone=mobilenet_v2"], "set backbone.cache_activations=false"),
    ],
)
def test_what_cannot_be_cut_on_the_device_is_refused(overrides, remedy):
    settings = composed("dataset.reading.crop_on_device=true", "dataset.reading.scales=[1.0]", *overrides)
    with pytest.raises(UsageError, match=rf"crop_on_device=true.*{remedy}"):
        build_datamodule(settings)


def test_stored_clips_are_cut_by_the_loader():
    """Their windows are not drawn."""
    clips = section_clips(Crop((40, 48), 32), uncut=True)
    clips.seed = None
    assert clips[Draw(0, 0)]["clips"].shape == (2, 3, 3, 4, 32, 32)


def test_rows_count_the_frames_of_the_videos_before():
    crop = Crop((40, 48), 32)
    sections = section_clips(crop, uncut=True)
    sections.reader = replace(sections.reader, frame_stride=2)
    items = [sections[Draw(0, v)]["uncut"] for v in range(2)]
    batch = collate([sections[Draw(0, v)] for v in range(2)])["uncut"]
    first = len(items[0].frames)
    rows = batch["windows"][32]["rows"]
    assert rows[6:].min() == first
    assert torch.equal(rows[6:] - first, torch.from_numpy(items[1].rows))
