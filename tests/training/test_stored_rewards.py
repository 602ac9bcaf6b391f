"""DSN-f from stored class scores: the same steps as with the classifier, which sees each candidate clip once."""

import io
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from conftest import NEEDLE
from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.cli.stored_rewards_recipe import use_stored_rewards
from dsn_lightning.cli.train_recipe import TrainingParts, assemble, train
from dsn_lightning.cli.trainer_recipe import make_trainer
from dsn_lightning.config.build import build_recognizer
from dsn_lightning.config.compose import settings_of
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.trained import RECORD_KEY, checkpoint_record
from dsn_lightning.data.batches import Draw
from dsn_lightning.data.section_clips import SectionClips, collate
from dsn_lightning.datasets.needle import Needle
from dsn_lightning.errors import UsageError
from dsn_lightning.tracking.loggers import Tracker
from dsn_lightning.video.video_info import VideoError
from helpers.exported_models import INPUT, exported_file
from helpers.training import fit, state
from helpers.video_models import model_folder

KINDS = ("huggingface", "exported", "checkpoint")


def classifier_keys(kind: str, folder: Path) -> list[str]:
    """A classifier with the needle set's classes, and nothing that was trained."""
    if kind == "huggingface":
        return ["backbone=huggingface", f"backbone.model={model_folder(classes=Needle.CLASSES)}",
                "backbone.frame_stride=2"]  # fmt: skip
    if kind == "exported":
        return ["backbone=exported", f"backbone.model={exported_file('onnx')}", *INPUT,
                f"backbone.classes=[{','.join([*Needle.CLASSES, 'a', 'b', 'c', 'd', 'e'][:5])}]"]  # fmt: skip
    settings = settings_of("algorithm=baseline", "run_dir=x")
    torch.manual_seed(0)
    record = checkpoint_record(settings, classes=Needle.CLASSES, trained_on=None)
    content = {"state_dict": build_recognizer(settings, len(Needle.CLASSES)).state_dict(), RECORD_KEY: record}
    torch.save(content, folder / "baseline.ckpt")
    return [f"classifier.checkpoint={folder / 'baseline.ckpt'}"]


def settings_for(kind: str, needle_root: Path, folder: Path, *overrides: str) -> Settings:
    return settings_of(
        f"dataset.root={needle_root}", *NEEDLE, "algorithm=dsn_fixed", "algorithm.rewards=stored", "M=2", "N=3",
        *classifier_keys(kind, folder), "observation=r2d_tiny_shared", "observation.network.trunk.num_frames=2",
        "schedule=tiny", "schedule.max_epochs=2", "schedule.batch_size=4", "trainer.accelerator=cpu", "progress=false",
        f"dataset.reading.prepared={folder / 'prepared'}", "test.enabled=false", "trainer.check_val_every_n_epoch=5",
        f"run_dir={folder / 'run'}", *overrides,
    )  # fmt: skip


@pytest.fixture
def classified(monkeypatch) -> list[int]:
    """How many clips each call of a classifier was given."""
    calls: list[int] = []
    classify = Recognizer.classify

    def counting(self: Recognizer, clips: torch.Tensor) -> torch.Tensor:
        calls.append(clips[..., 0, 0, 0, 0].numel())
        return classify(self, clips)

    monkeypatch.setattr(Recognizer, "classify", counting)
    return calls


def with_stored_rewards(settings: Settings) -> TrainingParts:
    parts = assemble(settings)
    use_stored_rewards(settings, parts.data, parts.recognizer, make_trainer(settings, parts.recognizer, [], Tracker()))
    return parts


def whole_clips(parts: TrainingParts, settings: Settings) -> SectionClips:
    """The training videos at the positions and crop of testing, with all frames."""
    return SectionClips(
        parts.data.videos("train"), parts.data.reader, num_classes=len(parts.data.classes), num_sections=settings.M,
        clips_per_section=settings.N, placement=settings.dataset.reading.placement, seed=None,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_candidate_is_classified_once_and_no_frame_more_is_read(kind, needle_root, tmp_path, classified):
    settings = settings_for(kind, needle_root, tmp_path, "classifier.head=logistic_regression")  # of what is trained
    start = assemble(settings).recognizer
    before = deepcopy(start.observation.state_dict())
    train(settings)
    data = assemble(settings).data
    distinct = [len(np.unique(data.training_candidates(video))) for video in data.videos("train")]
    assert sum(classified) == sum(distinct) == 12 * 6
    after = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert any(not torch.equal(value, after[f"observation.{name}"]) for name, value in before.items())
    for name, value in start.classifier.state_dict().items():
        assert torch.equal(value, after[f"classifier.{name}"])
    classified.clear()
    parts = with_stored_rewards(settings)  # another run with the same classifier
    assert classified == []
    batch = collate([parts.data.section_clips("train")[Draw(0, video)] for video in range(3)])
    assert batch["clips"].shape[:4] == (3, 2, 3, 3)
    assert batch["clips"].shape[4] == 2 < settings.backbone.frames_per_clip
    whole = collate([whole_clips(parts, settings)[Draw(0, video)] for video in range(3)])
    middle = (settings.backbone.frames_per_clip - 2) // 2
    assert torch.equal(batch["clips"], whole["clips"][:, :, :, :, middle : middle + 2])
    assert torch.equal(batch["start_frame"], whole["start_frame"])
    with torch.no_grad():
        expected = parts.recognizer.eval().classify(whole["clips"])
    torch.testing.assert_close(batch["clip_logits"], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_rewards_losses_and_gradients_are_those_of_the_classifier(kind, needle_root, tmp_path):
    """After one step of plain SGD, equal weights are equal gradients."""
    settings = settings_for(kind, needle_root, tmp_path, "schedule.momentum=0", "schedule.rule.warmup_epochs=0",
                            "schedule.sampler_rule.warmup_epochs=0", "schedule.gradient_clip=null")  # fmt: skip
    parts = with_stored_rewards(settings)
    torch.nn.init.normal_(parts.recognizer.observation.fc.weight)  # a policy that is not uniform
    stored, whole = parts.data.section_clips("train"), whole_clips(parts, settings)
    found: list[list[Any]] = []
    for clips in (stored, whole):
        model, seen = deepcopy(parts.recognizer), []
        estimate_of = model.estimator

        def estimator(*args: Any, seen: list[Any] = seen, estimate_of: Any = estimate_of, **kwargs: Any) -> Any:
            estimate = estimate_of(*args, **kwargs)
            seen += [estimate.action, estimate.reward, estimate.baseline, estimate.loss.detach()]
            return estimate

        model.estimator = estimator
        before = state(model.observation)
        fit(model, 1, DataLoader([clips[Draw(0, video)] for video in range(8)], batch_size=8, collate_fn=collate))
        after = state(model.observation)
        found.append([*seen, *(after[name] - before[name] for name in before)])
    assert len(found[0]) == len(found[1])
    assert found[0][1].unique().numel() > 2  # rewards of several clips
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert any(change.abs().max() > 1e-5 for change in found[0][4:])


def test_a_stopped_scoring_goes_on_and_damage_is_found(needle_root, tmp_path, classified):
    settings = settings_for("huggingface", needle_root, tmp_path)
    parts = with_stored_rewards(settings)
    (folder,) = (tmp_path / "prepared" / "clip_scores").iterdir()
    files = sorted(folder.glob("*.npy"))
    assert len(files) == 12
    expected = files[3].read_bytes()
    for file in files[3:5]:
        file.unlink()
    classified.clear()
    with_stored_rewards(settings)
    assert sum(classified) == 2 * settings.M * settings.N
    np.testing.assert_allclose(np.load(files[3]), np.load(io.BytesIO(expected)), atol=1e-6)
    store, video = parts.data.section_clips("train").fixed.scores, parts.data.videos("train")[0]
    starts = parts.data.training_candidates(video)
    store.file(video, starts).write_bytes(expected[:40])
    with pytest.raises(VideoError, match=r"its clip scores in .* cannot be read"):
        store.read(video, starts)
    with store.file(video, starts).open("wb") as file:
        np.savez(file, np.load(io.BytesIO(expected)))
    with pytest.raises(VideoError, match=r"clip scores in .* cannot be read \(the file is an archive\); remove this"):
        store.read(video, starts)
    store.file(video, starts).unlink()
    with pytest.raises(VideoError, match="no clip scores"):
        store.read(video, starts)
    classified.clear()
    with_stored_rewards(settings.changed({"N": 4, "test.N": 4, "algorithm.train_N": 4}))
    assert sum(classified) == 12 * 2 * 4


def test_a_classifier_that_learns_has_no_stored_rewards():
    with pytest.raises(UsageError, match=r"^algorithm.rewards=stored: needs a classifier that stays fixed"):
        settings_of("algorithm=dsn", "+algorithm.rewards=stored", "run_dir=x")
