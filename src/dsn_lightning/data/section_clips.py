"""Videos as items of section clips, and batches of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from dsn_lightning.data.batches import Draw
from dsn_lightning.data.uncut_batches import uncut_batch
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.stored_scores import StoredScores
from dsn_lightning.stateless_random import CLASSIFIER_ACTION, stateless_rng, stateless_uniforms
from dsn_lightning.video.clip_reader import ClipReader
from dsn_lightning.video.sections import IntArray, Placement, section_clip_starts
from dsn_lightning.video.time_line import Video
from dsn_lightning.video.video_info import VideoError

_MAX_REPLACEMENTS = 20


@dataclass(frozen=True)
class FixedClips:
    """Candidates that are the same in every epoch, with the classifier's scores of them.

    Attributes:
        scores: of all candidates.
        num_frames: how many of a clip's frames are read, in its middle: those that the observation network looks at.
    """

    scores: StoredScores
    num_frames: int


class SectionClips(Dataset[dict[str, Any] | UsageError]):
    """Videos as section clips, addressed by `Draw`.

    Args:
        videos, reader: the videos, and what reads their clips.
        num_classes: J.
        num_sections: M.
        clips_per_section: N.
        placement: what is divided into sections.
        seed: seed of all draws; None gives centred clips and crops (testing).
        warmup_epochs: first epochs of training, in which one clip of each section is read (N = 1): the one that `DSN`
            would keep at random.
        same_clips: whether every epoch has the clips and crops of the first one.
        fixed: read the candidates and crops of testing, in training, too, and nothing but what the observation network
            looks at of them; an item then also has ``clip_logits``, float (M, N, J).
        replace_bad: whether a video that cannot be read is replaced (training) or marked as not counted (testing);
            otherwise the error ends the run.
        uncut: leave the cutting of drawn windows to the device: items have ``uncut`` in place of ``clips``. Needs a
            seed; without effect on ``fixed`` clips, whose windows are not drawn.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        reader: ClipReader,
        *,
        num_classes: int,
        num_sections: int,
        clips_per_section: int,
        placement: Placement,
        seed: int | None,
        warmup_epochs: int = 0,
        same_clips: bool = False,
        fixed: FixedClips | None = None,
        replace_bad: bool = False,
        uncut: bool = False,
    ) -> None:
        self.videos = videos
        self.reader = reader
        self.num_classes = num_classes
        self.num_sections = num_sections
        self.clips_per_section = clips_per_section
        self.placement: Placement = placement
        self.seed = seed
        self.warmup_epochs = warmup_epochs
        self.same_clips = same_clips
        self.fixed = fixed
        self.replace_bad = replace_bad
        self.uncut = uncut

    def __len__(self) -> int:
        return len(self.videos)

    def _rng(self, draw: Draw, *purpose: str | int) -> np.random.Generator | None:
        video_id, epoch = self.videos[draw.video].record.video_id, 0 if self.same_clips else draw.epoch
        return None if self.seed is None else stateless_rng(self.seed, epoch, video_id, *purpose)

    def __getitem__(self, draw: Draw) -> dict[str, Any] | UsageError:
        """Return an item, or the error that ends the run."""
        bad: list[tuple[str, str]] = []
        for attempt in range(_MAX_REPLACEMENTS):
            try:
                item = self._read(draw) if self.fixed is None else self._read_fixed(draw, self.fixed)
                return {**item, "bad_videos": bad}
            except VideoError as error:
                if not self.replace_bad:
                    return error
                record = self.videos[draw.video].record
                bad.append((record.video_id, str(error)))
            if (rng := self._rng(draw, "replacement", attempt)) is None:
                return {**self._placeholder(record), "bad_videos": bad}
            draw = draw._replace(video=int(rng.integers(len(self.videos))))
        return UsageError(f"{_MAX_REPLACEMENTS} videos in a row cannot be read; the last one: {bad[-1][1]}")

    def _item(self, record: VideoRecord, clips: Tensor | None, starts: Tensor, counted: bool) -> dict[str, Any]:
        return {
            **({} if clips is None else {"clips": clips}),  # (M, N, C, T, H, W)
            "targets": label_vector(record.labels, self.num_classes),
            "video_id": record.video_id,
            "start_frame": starts,
            "counted": counted,
        }

    def _placeholder(self, record: VideoRecord) -> dict[str, Any]:
        side = self.reader.crop.crop_size
        channels, *size = self.reader.activations or (self.reader.channels, side, side)
        shape = (self.num_sections, self.clips_per_section, channels, self.reader.frames_per_clip, *size)
        clips = torch.zeros(shape, dtype=torch.float16 if self.reader.activations else torch.uint8)
        return self._item(record, clips, torch.zeros(shape[:2], dtype=torch.int64), False)

    def candidates(self, video: Video, rng: np.random.Generator | None = None) -> IntArray:
        """Return the first frames of a video's clips, (M, N): drawn by ``rng``, or in the middle of their parts."""
        return section_clip_starts(
            video.num_frames,
            num_sections=self.num_sections,
            clips_per_section=self.clips_per_section,
            clip_span=self.reader.clip_span,
            placement=self.placement,
            rng=rng,
        )

    def _read_fixed(self, draw: Draw, fixed: FixedClips) -> dict[str, Any]:
        video = self.videos[draw.video]
        starts = self.candidates(video)
        logits = torch.from_numpy(fixed.scores.read(video, starts))
        skipped = (self.reader.frames_per_clip - fixed.num_frames) // 2 * self.reader.frame_stride
        clips = replace(self.reader, frames_per_clip=fixed.num_frames)(video, starts + skipped)
        item = self._item(video.record, clips, torch.from_numpy(starts), draw.counted)
        return {**item, "clip_logits": logits}

    def _read(self, draw: Draw) -> dict[str, Any]:
        video = self.videos[draw.video]
        starts = self.candidates(video, self._rng(draw, "jitter"))
        kept, rng = self._kept(draw), self._rng(draw, "crop")  # (M, N)
        first = torch.from_numpy(starts[kept].reshape(len(kept), -1))
        if self.uncut and rng is not None:
            item = self._item(video.record, None, first, draw.counted)
            return {**item, "uncut": self.reader.read_uncut(video, starts, kept, rng)}
        clips = self.reader.read_kept(video, starts, kept, rng).unflatten(0, (len(kept), -1))
        return self._item(video.record, clips, first, draw.counted)

    def _kept(self, draw: Draw) -> NDArray[np.bool_]:
        """Tell which clips are read, (M, N): all of them, or one of each section in the warm-up."""
        shape = self.num_sections, self.clips_per_section
        if self.seed is None or draw.epoch >= self.warmup_epochs:
            return np.ones(shape, bool)
        video, key = self.videos[draw.video].record.video_id, {"seed": self.seed, "epoch": draw.epoch}
        uniforms = stateless_uniforms([video], shape[0], **key, purpose=CLASSIFIER_ACTION)[0].numpy()  # (M,)
        return np.arange(shape[1]) == np.floor(uniforms * shape[1])[:, None]


def label_vector(labels: Sequence[int], num_classes: int) -> Tensor:
    """Return the training target, float (J,): one-hot, or multi-hot and normalised to sum 1 for several labels.

    It is zero for a background video, which has no label and is only tested on.

    >>> label_vector([0, 2], 3)
    tensor([0.5000, 0.0000, 0.5000])
    """
    target = torch.zeros(num_classes)
    if labels:
        target[list(labels)] = 1 / len(labels)
    return target


def collate(results: Sequence[dict[str, Any] | UsageError]) -> dict[str, Any] | UsageError:
    """Return a batch of `SectionClips` items, those that count first, or the first error among them."""
    items = [item for item in results if not isinstance(item, UsageError)]
    if len(items) < len(results):
        return next(item for item in results if isinstance(item, UsageError))
    items.sort(key=lambda item: not item["counted"])
    apart = ("counted", "bad_videos", "uncut")
    batch: dict[str, Any] = default_collate([{k: v for k, v in item.items() if k not in apart} for item in items])
    if "uncut" in items[0]:
        batch["uncut"] = uncut_batch([item["uncut"] for item in items])
    bad = [entry for item in items for entry in item["bad_videos"]]
    return batch | {"num_videos": sum(item["counted"] for item in items), "bad_videos": bad}
