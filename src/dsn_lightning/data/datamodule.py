"""The data module: any `VideoSource` as batches of section clips."""

import hashlib
import math
import multiprocessing
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from dsn_lightning.data.batches import BatchShares, EpochOrder
from dsn_lightning.data.loader import ClipLoader, outlive_signals
from dsn_lightning.data.section_clips import SectionClips, collate
from dsn_lightning.datasets.records import Subset, VideoRecord, VideoSource
from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.copies import CopyProber, flow_copy, small_copy
from dsn_lightning.prepare.frozen_features import Activations, View
from dsn_lightning.prepare.video_index import good_ones, index_videos, prepare_alone, prepared_folder
from dsn_lightning.video.clip_reader import (
    ClipReader,
    DecodedFrames,
    FlowFrames,
    FrameCache,
    FrameReader,
    Video,
    place_on_time_line,
)
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.decoder import Decoder
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError, VideoInfo

SUBSETS: tuple[Subset, ...] = ("train", "val", "test")
_TIME_OUTS = 10


class SectionClipDataModule(pl.LightningDataModule):
    """Emits batches of section clips.

    A batch holds ``clips`` uint8 (B, M, N, C, T, H, W), ``targets`` float (B, J), ``video_id``, ``start_frame``
    (B, M, N), ``num_videos``, how many of its videos count (the first ones; all of them or, for a process without a
    share in the last batch, none), and ``bad_videos``, (video_id, reason) of those that could not be read.

    Args:
        source: the data set.
        crop: cuts the networks' input window.
        num_sections: M in training.
        clips_per_section: N in training.
        test_num_sections: M in validation.
        test_clips_per_section: N in validation.
        frames_per_clip: T.
        frame_stride: distance of a clip's frames.
        fps: frames a second to resample to, by time stamp; None keeps each video's own.
        modality: ``rgb``, or ``flow`` as `dsn-prepare` has computed it.
        batch_size: videos a step, over all processes.
        num_workers: loader processes; 0 reads in the training process.
        start_workers: how: ``fork`` or ``spawn``; None leaves it to torch.
        cache_frames: keep decoded frames in memory (small data sets only).
        seed: key of clip jitter, crops and order.
        decoder: reads the files.
        on_bad_video: ``skip`` puts another video in the place of one that cannot be read in training, and counts it
            as failed in testing; ``raise`` ends the run.
        max_bad: share of the training videos that may be bad in an epoch.
        max_missing: share of the listed videos that may be absent, in each subset.
        prepared: the folder for the index, and where `dsn-prepare` wrote copies; None for the data set's usual one.
        copies: read the small copies instead of the files themselves.
    """

    def __init__(
        self,
        source: VideoSource,
        *,
        crop: Crop,
        num_sections: int,
        clips_per_section: int,
        test_num_sections: int,
        test_clips_per_section: int,
        frames_per_clip: int,
        frame_stride: int = 1,
        fps: float | None = None,
        modality: Literal["rgb", "flow"] = "rgb",
        batch_size: int,
        num_workers: int = 0,
        start_workers: str | None = None,
        cache_frames: bool = False,
        seed: int = 0,
        decoder: Decoder | None = None,
        on_bad_video: Literal["skip", "raise"] = "raise",
        max_bad: float = 1.0,
        max_missing: float = 1.0,
        prepared: str | Path | None = None,
        copies: bool = False,
    ) -> None:
        super().__init__()
        for key, value, allowed in (
            ("modality", modality, ("rgb", "flow")),
            ("reading.on_bad_video", on_bad_video, ("skip", "raise")),
        ):
            if value not in allowed:
                raise UsageError(f"dataset.{key}={value}: must be one of {', '.join(allowed)}")
        if start_workers not in (None, *multiprocessing.get_all_start_methods()):
            raise UsageError(f"start_workers={start_workers}: must be fork or spawn")
        for key, share in (("max_bad", max_bad), ("max_missing", max_missing)):
            if not 0 <= share <= 1:
                raise UsageError(f"dataset.reading.{key}={share}: must lie between 0 and 1")
        self.source = source
        self.crop = crop
        self.train_scheme = (num_sections, clips_per_section)
        self.test_scheme = (test_num_sections, test_clips_per_section)
        self.frames_per_clip = frames_per_clip
        self.frame_stride = frame_stride
        self.fps = fps
        self.modality = modality
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.start_workers = start_workers
        self.cache_frames = cache_frames
        self.seed = seed
        self.decoder = decoder or PyAV()
        self.on_bad_video = on_bad_video
        self.max_bad = max_bad
        self.max_missing = max_missing
        self.prepared = prepared_folder(source) if prepared is None else Path(prepared).expanduser().absolute()
        self.copies = copies
        self._videos: dict[Subset, list[Video]] = {}
        self.missing: dict[Subset, list[VideoRecord]] = {}
        self.bad: dict[Subset, dict[str, VideoError]] = {}
        self.made: str | None = None
        self._reader: ClipReader | None = None
        self._network_reader: ClipReader | None = None

    @property
    def classes(self) -> Sequence[str]:
        """Class names; a label is an index into them."""
        return self.source.classes

    def prepare_data(self) -> None:
        """Let the data set make what it needs; of several processes one at a time."""
        prepare_alone(self.source, self.prepared)

    @property
    def reader(self) -> ClipReader:
        """The reader that all subsets share, and with it the cache of frames."""
        if self._reader is None:
            flow = self.modality == "flow"
            of_copies = PyAV(getattr(self.decoder, "deadline", math.inf))
            read: FrameReader = (
                FlowFrames(of_copies) if flow else DecodedFrames(of_copies if self.copies else self.decoder)
            )
            if self.cache_frames:
                read = FrameCache(read)
            channels = 2 if flow else 3
            self._reader = ClipReader(read, self.crop, self.frames_per_clip, self.frame_stride, channels)
        return self._reader

    @property
    def network_reader(self) -> ClipReader:
        """The reader of what networks are given: pixels, or the activations that `read_activations` was given."""
        return self._network_reader or self.reader

    def read_activations(self, store: Activations) -> None:
        """From now on give networks activations in place of pixels."""
        crop = self.crop
        view = View(crop.flip, crop.frame_size, crop.crop_size)
        self._network_reader = replace(self.reader, read=store, crop=view, activations=store.shape)

    def setup(self, stage: str | None = None) -> None:
        """Look which videos are there and index them; those indexed before and unchanged cost nothing.

        ``stage="test"`` looks at the test videos alone, ``stage="validate"`` at those held out of training.

        Afterwards ``missing`` holds each subset's records without a file, and ``bad``, by video id, why a video cannot
        be used.

        Raises:
            UsageError: more videos are missing or bad than is allowed, or copies are asked for and there are none.
            VideoError: a video is bad, and ``on_bad_video`` is ``raise``.
        """
        alone: dict[str | None, tuple[Subset, ...]] = {"test": ("test",), "validate": ("val",)}
        subsets = alone.get(stage, SUBSETS)
        if all(subset in self._videos for subset in subsets):
            return
        listed = {subset: self.source.records(subset) for subset in subsets}
        there = {path for records in listed.values() for record in records if self._is_there(path := record.path)}
        for subset, records in listed.items():
            self.missing[subset] = [record for record in records if record.path not in there]
            self._check_missing(subset, len(records))
        found = index_videos(
            sorted(there), self.prepared, root=self.source.root, decoder=self.decoder, num_threads=os.cpu_count() or 1
        )
        copies = self._index_copies(found)
        for subset, records in listed.items():
            self._videos[subset], self.bad[subset] = [], {}
            for record in records:
                if record.path in there:
                    self._take(subset, record, found, copies)
        if "train" not in listed:
            return
        num_bad, num_train = len(self.bad["train"]), len(self._videos["train"]) + len(self.bad["train"])
        if num_bad > self.max_bad * num_train:
            first = next(iter(self.bad["train"].values()))
            raise UsageError(
                f"{num_bad} of {num_train} training videos cannot be used, more than dataset.reading.max_bad="
                f"{self.max_bad} allows; the first one: {first}"
            )

    def _is_there(self, path: Path) -> bool:
        return path.exists() or self.decoder.find(path).exists()

    def _check_missing(self, subset: Subset, num_listed: int) -> None:
        absent = self.missing[subset]
        if len(absent) > self.max_missing * num_listed:
            raise UsageError(
                f"{len(absent)} of {num_listed} {subset} videos are not there, more than dataset.reading.max_missing="
                f"{self.max_missing} allows; the first one: {absent[0].path}"
            )
        if num_listed and len(absent) == num_listed:
            raise UsageError(f"none of {num_listed} {subset} videos is there; the first one: {absent[0].path}")

    def _index_copies(self, found: dict[Path, VideoInfo | VideoError]) -> dict[Path, tuple[Path, Any]]:
        """Return, by original, the copy to be read instead and what indexing that found."""
        if self.modality == "rgb" and not self.copies:
            return {}
        step, place = ("flow", flow_copy) if self.modality == "flow" else ("transcode", small_copy)
        copy_of = {path: place(self.prepared, self.source.root, path) for path in good_ones(found)}
        if not any(copy.is_file() for copy in copy_of.values()):
            raise UsageError(
                f"dataset={self.source.name}: {self.prepared} holds no {'flow' if step == 'flow' else 'small copy'}; "
                f"make it with dsn-prepare steps=[check,{step}], or name its folder with dataset.reading.prepared=DIR"
            )
        originals = {copy_of[path]: info for path, info in good_ones(found).items()}
        there = sorted(copy for copy in originals if copy.is_file())
        folder = self.prepared / there[0].relative_to(self.prepared).parts[0]
        infos = index_videos(
            there, folder, root=folder, decoder=CopyProber(originals), num_threads=os.cpu_count() or 1, show=False
        )
        ways = sorted({info.made for info in good_ones(infos).values()})
        if len(ways) > 1:
            raise UsageError(
                f"{folder}: its copies were made in different ways ({'; '.join(ways)}); call dsn-prepare "
                f"steps=[check,{step}] again, to its end"
            )
        self.made = ways[0] if ways else None
        absent = f"not there; call dsn-prepare steps=[check,{step}] again"
        return {path: (copy, infos.get(copy, VideoError(copy, absent))) for path, copy in copy_of.items()}

    def _take(
        self,
        subset: Subset,
        record: VideoRecord,
        found: dict[Path, VideoInfo | VideoError],
        copies: dict[Path, tuple[Path, Any]],
    ) -> None:
        try:
            info = found[record.path]
            if isinstance(info, VideoError):
                raise info
            copy = copies.get(record.path)
            if copy is not None and isinstance(copy[1], VideoError):
                raise copy[1]
            self._videos[subset].append(place_on_time_line(record, info, self.fps, copy=copy))
        except VideoError as error:
            if self.on_bad_video == "raise":
                raise
            self.bad[subset][record.video_id] = error

    def videos(self, subset: Subset) -> list[Video]:
        """Return the videos of a subset that can be used, each on its time line."""
        return self._videos[subset]

    @property
    def clip_span(self) -> int:
        """Frames of the time line that a clip covers."""
        return self.frames_per_clip * self.frame_stride

    def stock(self) -> dict[str, dict[str, Any]]:
        """Return, by subset, ``listed, present``, ``missing`` by class, ``failed`` with the reasons, and how many are
        ``shorter_than_a_clip``: those repeat their last frame.
        """
        return {
            subset: {
                "listed": len(self._videos[subset]) + len(self.bad[subset]) + len(self.missing[subset]),
                "present": len(self._videos[subset]) + len(self.bad[subset]),
                "missing": dict(sorted(Counter(
                    self.classes[label] for record in self.missing[subset] for label in record.labels
                ).items())),
                "failed": {video_id: str(error) for video_id, error in self.bad[subset].items()},
                "shorter_than_a_clip": sum(video.num_frames < self.clip_span for video in self._videos[subset]),
            }
            for subset in self._videos
        }  # fmt: skip

    def refuse_differences(self) -> None:
        """Make sure that all processes (torch.distributed) hold the same videos, in the same order.

        Raises:
            UsageError: in all of them, where one could read a file that another one could not.
        """
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        own = {video.record.video_id for videos in self._videos.values() for video in videos}
        everyones: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(everyones, own)
        odd = {video_id for theirs in everyones for video_id in theirs ^ own}
        if odd:
            raise UsageError(f"{min(odd)} could be read by some of the processes only; start again")

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run should find again."""
        return {"training_videos": self._fingerprint()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Warn where the training videos are not those that the run began with."""
        if state_dict.get("training_videos", self._fingerprint()) != self._fingerprint():
            warnings.warn(
                "the training videos that can be used are not those that the run was stopped with; it goes on, but "
                "ends otherwise than if it had not been stopped",
                stacklevel=2,
            )

    def _fingerprint(self) -> str:
        ids = "\n".join(video.record.video_id for video in self._videos.get("train", ()))
        return hashlib.blake2b(ids.encode(), digest_size=8).hexdigest()

    def section_clips(self, subset: Subset) -> SectionClips:
        """Return a subset as a data set of section clips: jittered for ``train``, centred otherwise."""
        training = subset == "train"
        num_sections, clips_per_section = self.train_scheme if training else self.test_scheme
        return SectionClips(
            self.videos(subset),
            self.network_reader,
            num_classes=len(self.classes),
            num_sections=num_sections,
            clips_per_section=clips_per_section,
            seed=self.seed if training else None,
            replace_bad=self.on_bad_video == "skip",
        )

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return this process's share of shuffled, jittered batches, from where the training stands."""
        self.refuse_differences()
        epoch = skip = 0
        if self.trainer is not None:  # a checkpoint has been read before Lightning asks for batches
            loop = self.trainer.fit_loop
            epoch = loop.epoch_progress.current.processed  # type: ignore[attr-defined]
            batches = loop.epoch_loop.batch_progress
            skip = 0 if batches.is_last_batch else batches.current.processed  # type: ignore[attr-defined]
        return self._loader(self.section_clips("train"), epoch=epoch, skip=skip)

    def val_dataloader(self) -> DataLoader[dict[str, Any]] | list[Any]:
        """Return centred batches of the videos held out of training; nothing where there are none."""
        clips = self.section_clips("val")
        return self._loader(clips) if len(clips) else []

    def _loader(self, clips: SectionClips, *, epoch: int = 0, skip: int = 0) -> DataLoader[dict[str, Any]]:
        rank, processes = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        order = EpochOrder(len(clips), seed=clips.seed, epoch=epoch)
        share = -(-self.batch_size // processes)
        return ClipLoader(
            clips,
            batch_sampler=BatchShares(order, self.batch_size, rank=rank, num_processes=processes, skip=skip),
            collate_fn=collate,
            num_workers=self.num_workers,
            multiprocessing_context=self.start_workers if self.num_workers else None,
            persistent_workers=self.num_workers > 0,
            timeout=self.patience(share) if self.num_workers else 0,
            worker_init_fn=outlive_signals,
        )

    def patience(self, videos: int = 1) -> float:
        """Return the seconds without ``videos`` after which a loader process is taken to hang; 0: it is waited for."""
        deadline = getattr(self.decoder, "deadline", math.inf)
        return 0 if math.isinf(deadline) else (_TIME_OUTS + videos) * deadline
