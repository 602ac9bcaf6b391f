"""Rewards without a classifier in training: its scores of the fixed candidates are computed once, before it begins."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from filelock import FileLock
from rich.progress import track
from torch import Tensor

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.algorithms.recognizer import evaluating
from dsn_lightning.config.loader_workers import loader_workers
from dsn_lightning.config.settings import Settings
from dsn_lightning.data.batches import ClipLoader
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.data.section_clips import FixedClips
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.clip_loading import CandidateClips
from dsn_lightning.evaluation.scores import weights_hash
from dsn_lightning.files import refuse_link, remove_leftovers
from dsn_lightning.observations.observation_network import frames_looked_at
from dsn_lightning.prepare.stored_scores import StoredScores
from dsn_lightning.text_tables import PrintableConsole
from dsn_lightning.video.sections import IntArray
from dsn_lightning.video.time_line import Video
from dsn_lightning.video.video_info import VideoError

_CLIPS_AT_ONCE = 16


def use_stored_rewards(settings: Settings, data: SectionClipDataModule, recognizer: DSN, trainer: pl.Trainer) -> None:
    """Score the candidates of all training videos that have no scores yet, and train from them from now on.

    The candidates are those of a test with the training's M and N: the middles of the sections' parts, at the centre
    crop. Each is classified once, and an evaluation of this scheme asks about the same clips. Of several processes one
    computes, the others wait.

    Raises:
        UsageError: the classifier's scores are not finite.
        VideoError: a video cannot be read, and bad ones are not skipped.
    """
    store = StoredScores(data.prepared / "clip_scores" / _folder_name(settings, data, recognizer), len(data.classes))
    store.folder.mkdir(parents=True, exist_ok=True)
    videos = data.videos("train")
    starts = [np.unique(data.training_candidates(video)) for video in videos]
    refuse_link(store.folder / ".lock")
    with FileLock(store.folder / ".lock"):
        remove_leftovers(store.folder)
        pairs = zip(videos, starts, strict=True)
        missing = [(video, first) for video, first in pairs if not store.file(video, first).is_file()]
        if missing:
            recognizer.to(trainer.strategy.root_device)
            _score(missing, settings, data, recognizer, store, trainer.precision_plugin.forward_context())
    data.fix_clips(FixedClips(store, frames_looked_at(recognizer.observation, data.scheme.frames_per_clip)))


def _score(
    missing: Sequence[tuple[Video, IntArray]],
    settings: Settings,
    data: SectionClipDataModule,
    recognizer: DSN,
    store: StoredScores,
    precision: AbstractContextManager[Any],
) -> None:
    count = sum(len(starts) for _, starts in missing)
    title = f"Classifying the {count} candidates of {len(missing)} training videos"
    console = PrintableConsole(stderr=True, quiet=not settings.progress)
    loader = _loader(settings, data, missing)
    with torch.no_grad(), evaluating(recognizer), precision:
        for (video, starts), clips in track(_pairs(loader, missing), title, len(missing), console=console):
            if isinstance(clips, VideoError):
                if not data.bad_video_policy.skip:
                    raise clips
                continue
            parts = clips.to(recognizer.device).split(_CLIPS_AT_ONCE)
            logits = torch.cat([recognizer.classify(part) for part in parts]).cpu()
            if not logits.isfinite().all():
                raise UsageError(f"the classifier's scores of {video.record.video_id} are not finite")
            store.write(video, starts, logits.numpy())


def _pairs(
    loader: ClipLoader, missing: Sequence[tuple[Video, IntArray]]
) -> Iterator[tuple[tuple[Video, IntArray], Tensor | VideoError]]:
    for number, clips in loader:
        yield missing[number], clips


def _loader(settings: Settings, data: SectionClipDataModule, missing: Sequence[tuple[Video, IntArray]]) -> ClipLoader:
    videos, starts = zip(*missing, strict=True)
    workers = loader_workers(settings)
    return ClipLoader(
        CandidateClips(videos, starts, data.network_reader),
        batch_size=None,
        num_workers=workers.number,
        start_workers=workers.start,
        timeout=data.loader_timeout(),
    )


def _folder_name(settings: Settings, data: SectionClipDataModule, recognizer: DSN) -> str:
    """Return a name that stands for everything that a clip's scores depend on, but the video and its first frame."""
    backbone = settings.backbone
    content: list[Any] = [weights_hash(recognizer.classifier), str(backbone.network), settings.trainer.precision]
    content += [backbone.frames_per_clip, backbone.frame_stride, list(backbone.frame_size), backbone.crop_size]
    content += [recognizer.mean.tolist(), recognizer.std.tolist(), data.crop.resize, data.modality]
    content += [data.copies_made_with, str(settings.dataset.reading.decoder), data.network_reader.activations]
    return hashlib.blake2b(repr(content).encode(), digest_size=8).hexdigest()
