"""The clips of the classifier's warm-up: those that DSN would keep at random, and nothing else is decoded."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import NEEDLE
from dsn_lightning.algorithms.dsn import keep
from dsn_lightning.config.build import build_datamodule
from dsn_lightning.config.compose import settings_of
from dsn_lightning.data.batches import Draw
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.estimators import sample_actions
from dsn_lightning.stateless_random import CLASSIFIER_ACTION, stateless_uniforms
from dsn_lightning.video.pyav_decoder import PyAV

AUGMENTED = (
    "backbone.frame_size=[40,44]",
    "dataset.reading.scales=[1.2,1.0,0.9]",
    "dataset.reading.flip=0.5",
    "dataset.reading.corners=true",
)


class CountingDecoder(PyAV):
    """Counts the frames that it is asked for."""

    frames = 0

    def read(self, path, indices, size, info):
        self.frames += len(indices)
        return super().read(path, indices, size, info)


@pytest.fixture
def make_data(needle_root, tmp_path):
    def make(*overrides: str) -> tuple[SectionClipDataModule, CountingDecoder]:
        place = (f"dataset.root={needle_root}", f"dataset.reading.prepared={tmp_path}", *NEEDLE, "run_dir=x")
        data = build_datamodule(settings_of(*place, "dataset.reading.cache_frames=false", "M=2", "N=3", *overrides))
        decoder = CountingDecoder()
        data.reading = replace(data.reading, decoder=decoder)
        data.prepare_data()
        data.setup()
        return data, decoder

    return make


@pytest.mark.parametrize(
    ("overrides", "clips_by_epoch"),
    [
        (("algorithm.warmup_epochs=1",), [1, 3]),
        (("algorithm.warmup_epochs=0",), [3, 3]),
        (("+algorithm.train_sampler=false", "schedule.max_epochs=2", "algorithm.warmup_epochs=2"), [1, 1]),
        (("algorithm=baseline",), [1, 1]),
    ],
    ids=["dsn", "dsn without warm-up", "control", "baseline"],
)
def test_an_epoch_decodes_the_clips_that_are_looked_at(overrides, clips_by_epoch, make_data):
    data, decoder = make_data(*overrides)
    loader = data.train_dataloader()
    for epoch, num_clips in enumerate(clips_by_epoch):
        loader.batch_sampler.sampler.set_epoch(epoch)
        decoder.frames = 0
        starts = torch.cat([batch["start_frame"] for batch in loader])
        assert starts.shape == (12, 2, num_clips)
        frames = [np.unique(np.add.outer(of_video.numpy(), np.arange(8))) for of_video in starts]  # T = 8
        assert decoder.frames == sum(map(len, frames))
        assert decoder.frames <= 12 * 2 * num_clips * 8


def test_a_warm_up_has_the_clips_that_dsn_would_keep(make_data):
    """The same positions, windows and flips as those of the clip that is drawn where all candidates are read."""
    warm, full = (make_data(*AUGMENTED, f"algorithm.warmup_epochs={n}")[0].section_clips("train") for n in (2, 0))
    actions = []
    for epoch in (0, 1):
        for v, video in enumerate(full.videos):
            drawn, candidates = (clips[Draw(epoch, v)] for clips in (warm, full))
            key = {"seed": 0, "epoch": epoch, "purpose": CLASSIFIER_ACTION}
            uniforms = stateless_uniforms([video.record.video_id], 2, **key)
            action = sample_actions(torch.zeros(1, 2, 3).log_softmax(-1), uniforms)
            assert torch.equal(drawn["clips"].squeeze(1), keep(candidates["clips"][None], action)[0])
            assert torch.equal(drawn["start_frame"], candidates["start_frame"].gather(1, action.T))
            actions += action.flatten().tolist()
    assert set(actions) == {0, 1, 2}
    assert warm[Draw(2, 0)]["clips"].shape == full[Draw(2, 0)]["clips"].shape


def test_validation_reads_all_candidates(make_data):
    data, _ = make_data("algorithm.warmup_epochs=2")
    assert next(iter(data.val_dataloader()))["start_frame"].shape[1:] == (2, 3)
