"""The data module: any `VideoSource` as batches of section clips."""

import hashlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from dsn_lightning.data.batches import BatchShares, ClipLoader, EpochOrder
from dsn_lightning.data.inventory import BadVideoPolicy, Reading, SubsetInventory, take_inventory
from dsn_lightning.data.section_clips import FixedClips, SectionClips, collate
from dsn_lightning.data.uncut_batches import cut_clips
from dsn_lightning.datasets.records import SUBSETS, Subset, VideoRecord, VideoSource
from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.frozen_features import Activations, View
from dsn_lightning.prepare.video_index import prepare_source, prepared_folder
from dsn_lightning.video.clip_reader import ClipReader, DecodedFrames, FlowFrames, FrameCache, FrameReader
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.modality import CHANNELS, Modality
from dsn_lightning.video.motion_jpeg import MotionJpeg
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.sections import IntArray, Placement
from dsn_lightning.video.time_line import Video
from dsn_lightning.video.video_info import VideoError

_DEADLINES = 10  # of spare time before a data loader times out


@dataclass(frozen=True)
class ClipScheme:
    """Which clips are read of a video."""

    num_sections: int  # M in training
    clips_per_section: int  # N in training
    test_num_sections: int  # M in validation
    test_clips_per_section: int  # N in validation
    frames_per_clip: int  # T
    frame_stride: int = 1  # distance between a clip's frames
    placement: Placement = "starts"  # what is divided into sections
    warmup_epochs: int = 0  # first epochs of training, in which N = 1; see `SectionClips`

    @property
    def clip_span(self) -> int:
        """Frames of the time line that a clip covers."""
        return self.frames_per_clip * self.frame_stride


@dataclass(frozen=True)
class BatchLoading:
    """How batches are loaded."""

    batch_size: int  # videos per step, over all processes
    num_workers: int = 0  # loader processes; 0 reads in the training process
    start_workers: str | None = None  # their start method, fork or spawn; None uses torch's default
    pin_memory: bool = False  # batches are put where a GPU fetches them while it computes
    crop_on_device: bool = False  # training windows are cut where the networks compute, from whole frames
    same_batches: bool = False  # whether every epoch of the training has the batches of the first one, clip for clip


class SectionClipDataModule(pl.LightningDataModule):
    """Emits batches of section clips.

    A batch has ``clips`` uint8 (B, M, N, C, T, H, W), ``targets`` float (B, J), ``video_id``, ``start_frame``
    (B, M, N), ``num_videos``, the number of its videos that count (the first ones; all of them or, for a process
    without a share in the last batch, none), and ``bad_videos``, (video_id, reason) of those that could not be read.

    Args:
        source: the data set.
        crop: cuts the networks' input window.
        scheme, loading, bad_videos: see their classes.
        reading: how videos are read; None: with `PyAV`.
        prepared: folder of the index and of the copies of dsn-prepare; None for the data set's default folder.
        seed: key of clip jitter, crops and order.

    Attributes:
        copies_made_with: after `setup`, the settings that the copies were made with; None without copies.
    """

    def __init__(
        self,
        source: VideoSource,
        *,
        crop: Crop,
        scheme: ClipScheme,
        loading: BatchLoading,
        reading: Reading | None = None,
        bad_videos: BadVideoPolicy | None = None,
        prepared: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.source = source
        self.crop = crop
        self.scheme = scheme
        self.loading = loading
        self.reading = reading or Reading(PyAV())
        self.bad_video_policy = bad_videos or BadVideoPolicy()
        self.prepared = prepared_folder(source, prepared)
        self.seed = seed
        self.copies_made_with: str | None = None
        self._inventories: dict[Subset, SubsetInventory] = {}
        self._reader: ClipReader | None = None
        self._network_reader: ClipReader | None = None
        self._fixed: FixedClips | None = None

    @property
    def classes(self) -> Sequence[str]:
        """Class names; a label is an index into them."""
        return self.source.classes

    @property
    def modality(self) -> Modality:
        """Modality of the clips."""
        return self.reading.modality

    @property
    def missing(self) -> dict[Subset, list[VideoRecord]]:
        """The records without a file, by subset."""
        return {subset: inventory.missing for subset, inventory in self._inventories.items()}

    @property
    def bad(self) -> dict[Subset, dict[str, VideoError]]:
        """Why videos cannot be used, by subset and video id."""
        return {subset: inventory.bad for subset, inventory in self._inventories.items()}

    def prepare_data(self) -> None:
        """Let the data set create the files that it needs, in one process at a time."""
        prepare_source(self.source, self.prepared)

    @property
    def reader(self) -> ClipReader:
        """The reader that all subsets share, and with it the cache of frames."""
        if self._reader is None:
            copies, deadline = self.reading.copies, self.reading.decoder.deadline
            decoders = {None: self.reading.decoder, "small": PyAV(deadline), "frames": MotionJpeg(deadline)}
            flow = self.modality == "flow"
            read: FrameReader = FlowFrames(PyAV(deadline)) if flow else DecodedFrames(decoders[copies])
            if self.reading.cache_frames:
                read = FrameCache(read)
            scheme, channels = self.scheme, CHANNELS[self.modality]
            self._reader = ClipReader(read, self.crop, scheme.frames_per_clip, scheme.frame_stride, channels)
        return self._reader

    @property
    def network_reader(self) -> ClipReader:
        """The reader of the networks' input: pixels, or activations after `read_activations`."""
        return self._network_reader or self.reader

    def read_activations(self, store: Activations) -> None:
        """Give networks activations instead of pixels from now on."""
        view = View(self.crop)
        self._network_reader = replace(self.reader, read=store, crop=view, activations=store.shape)

    def training_candidates(self, video: Video) -> IntArray:
        """Return the first frames of a training video's clips without jitter, (M, N)."""
        return self.section_clips("train").candidates(video)

    def fix_clips(self, fixed: FixedClips) -> None:
        """Train from these scores of the candidates without jitter from now on."""
        self._fixed = fixed

    def setup(self, stage: str | None = None) -> None:
        """Find and index the videos: with ``test`` and ``validate``, only the test or held-out ones; otherwise all.

        Raises:
            UsageError: more videos are missing or bad than is allowed, or there are no copies.
            VideoError: a video is bad, and bad videos end the run.
        """
        single: dict[str | None, tuple[Subset, ...]] = {"test": ("test",), "validate": ("val",)}
        subsets = single.get(stage, SUBSETS)
        if not all(subset in self._inventories for subset in subsets):
            inventories, self.copies_made_with = take_inventory(
                self.source,
                subsets,
                self.reading,
                self.bad_video_policy,
                prepared=self.prepared,
                scaled_size=self.crop.scaled_size,
            )
            self._inventories |= inventories

    def videos(self, subset: Subset) -> list[Video]:
        """Return the videos of a subset that can be used, on their time lines."""
        return self._inventories[subset].videos

    def inventory(self) -> dict[Subset, dict[str, Any]]:
        """Return the counts and reasons of `SubsetInventory.summary` for each subset that is set up."""
        return {
            subset: inventory.summary(self.classes, clip_span=self.scheme.clip_span)
            for subset, inventory in self._inventories.items()
        }

    def check_processes_agree(self) -> None:
        """Raise a `UsageError` in every process (torch.distributed) if one could read a file that another could not."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        ids = {video.record.video_id for inventory in self._inventories.values() for video in inventory.videos}
        gathered: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(gathered, ids)
        differing = {video_id for others in gathered for video_id in others ^ ids}
        if differing:
            raise UsageError(f"only some of the processes could read {min(differing)}; start again")

    def state_dict(self) -> dict[str, Any]:
        """Return the fingerprint of the training videos, for a resumed run to compare."""
        return {"training_videos": self._fingerprint()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Warn if the training videos are not those that the run began with."""
        if state_dict["training_videos"] != self._fingerprint():
            warnings.warn(
                "the usable training videos have changed since the run was stopped; it continues, but its results "
                "differ from those of an uninterrupted run",
                stacklevel=2,
            )

    def _fingerprint(self) -> str:
        videos = self._inventories["train"].videos if "train" in self._inventories else []
        ids = "\n".join(video.record.video_id for video in videos)
        return hashlib.blake2b(ids.encode(), digest_size=8).hexdigest()

    def section_clips(self, subset: Subset, *, uncut: bool = False) -> SectionClips:
        """Return a subset as a data set of section clips: jittered for ``train``, centred otherwise.

        With ``uncut`` items have frames and the drawn windows in place of clips; `on_after_batch_transfer` cuts them.
        """
        training, scheme = subset == "train", self.scheme
        return SectionClips(
            self.videos(subset),
            self.network_reader,
            num_classes=len(self.classes),
            num_sections=scheme.num_sections if training else scheme.test_num_sections,
            clips_per_section=scheme.clips_per_section if training else scheme.test_clips_per_section,
            placement=scheme.placement,
            seed=self.seed if training else None,
            warmup_epochs=scheme.warmup_epochs,
            same_clips=training and self.loading.same_batches,
            fixed=self._fixed if training else None,
            replace_bad=self.bad_video_policy.skip,
            uncut=uncut,
        )

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return this process's share of shuffled, jittered batches, beginning where the training stopped."""
        self.check_processes_agree()
        epoch = skip = 0
        if self.trainer is not None:  # Lightning reads the checkpoint before it asks for batches
            loop = self.trainer.fit_loop
            epoch = loop.epoch_progress.current.processed  # type: ignore[attr-defined]
            batches = loop.epoch_loop.batch_progress
            skip = 0 if batches.is_last_batch else batches.current.processed  # type: ignore[attr-defined]
        clips = self.section_clips("train", uncut=self.loading.crop_on_device)
        return self._loader(clips, epoch=epoch, skip=skip)

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Cut the clips of a training batch with ``crop_on_device``; Lightning calls it on the device's batches."""
        if "uncut" not in batch:
            return batch
        shape = batch["start_frame"].shape  # (B, M, N)
        clips = cut_clips(batch["uncut"], self.crop.crop_size).unflatten(0, shape)
        return {**{key: value for key, value in batch.items() if key != "uncut"}, "clips": clips}

    def val_dataloader(self) -> DataLoader[dict[str, Any]] | list[Any]:
        """Return centred batches of the held-out videos; an empty list if there are none."""
        clips = self.section_clips("val")
        return self._loader(clips) if len(clips) else []

    def uniform_batches(self, subset: Subset) -> DataLoader[dict[str, Any]]:
        """Return batches of one centred clip of each section of the test, of all videos in order, in this process."""
        scheme = self.scheme
        clips = SectionClips(
            self.videos(subset),
            self.network_reader,
            num_classes=len(self.classes),
            num_sections=scheme.test_num_sections,
            clips_per_section=1,
            placement=scheme.placement,
            seed=None,
            replace_bad=self.bad_video_policy.skip,
        )
        batches = BatchShares(EpochOrder(len(clips), seed=None), self.loading.batch_size)
        return ClipLoader(clips, batch_sampler=batches, collate_fn=collate)

    def _loader(self, clips: SectionClips, *, epoch: int = 0, skip: int = 0) -> DataLoader[dict[str, Any]]:
        rank, processes = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        order = EpochOrder(len(clips), seed=clips.seed, epoch=epoch, same_order=self.loading.same_batches)
        batch_size, num_workers = self.loading.batch_size, self.loading.num_workers
        share = -(-batch_size // processes)
        return ClipLoader(
            clips,
            batch_sampler=BatchShares(order, batch_size, rank=rank, num_processes=processes, skip=skip),
            collate_fn=collate,
            num_workers=num_workers,
            start_workers=self.loading.start_workers,
            timeout=self.loader_timeout(share),
            persistent_workers=num_workers > 0,
            pin_memory=self.loading.pin_memory,
        )

    def loader_timeout(self, num_videos: int = 1) -> float:
        """Return the seconds after which a data loader that does not return ``num_videos`` times out; 0: never."""
        deadline = self.reading.decoder.deadline
        return 0 if math.isinf(deadline) else (_DEADLINES + num_videos) * deadline
