"""The data module: any `VideoSource` as batches of section clips."""

import hashlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from dsn_lightning.data.clips import (
    BatchShares,
    ClipReader,
    EpochOrder,
    SectionClips,
    Video,
    collate,
    place_on_time_line,
)
from dsn_lightning.data.decoding import FrameCache, VideoInfo, index_videos, read_frames
from dsn_lightning.data.records import Subset, VideoRecord, VideoSource
from dsn_lightning.data.transforms import Crop


class SectionClipDataModule(pl.LightningDataModule):
    """Emits batches of section clips.

    A batch holds ``clips`` uint8 (B, M, N, C, T, H, W), ``targets`` float (B, J), ``video_id``, ``start_frame``
    (B, M, N) and ``num_videos``, how many of its videos count: all of them or, for a process without a share in the
    last batch, none.

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
        batch_size: videos a step, over all processes.
        num_workers: loader processes; 0 reads in the training process.
        cache_frames: keep decoded frames in memory (small data sets only).
        seed: key of clip jitter, crops and order.
        index_folder: where the result of decoding each video once (frame counts) is kept.
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
        batch_size: int,
        num_workers: int = 0,
        cache_frames: bool = False,
        seed: int = 0,
        index_folder: str | Path = "~/.cache/dsn_lightning",
    ) -> None:
        super().__init__()
        self.source = source
        self.crop = crop
        self.train_scheme = (num_sections, clips_per_section)
        self.test_scheme = (test_num_sections, test_clips_per_section)
        self.frames_per_clip = frames_per_clip
        self.frame_stride = frame_stride
        self.fps = fps
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.cache_frames = cache_frames
        self.seed = seed
        self.index_folder = Path(index_folder).expanduser()
        self._infos: dict[Path, VideoInfo] = {}
        self._reader: ClipReader | None = None

    @property
    def classes(self) -> Sequence[str]:
        """Class names; a label is an index into them."""
        return self.source.classes

    def prepare_data(self) -> None:
        """Let the data set make what it needs."""
        self.source.prepare()

    @property
    def reader(self) -> ClipReader:
        """The reader that all subsets share, and with it the cache of frames."""
        if self._reader is None:
            counts = {path: info.num_frames for path, info in self._infos.items()}
            read = FrameCache(counts) if self.cache_frames else read_frames
            self._reader = ClipReader(read, self.crop, self.frames_per_clip, self.frame_stride)
        return self._reader

    def setup(self, stage: str | None = None) -> None:
        """Index the videos; those indexed before and unchanged cost nothing."""
        subsets: tuple[Subset, ...] = ("train", "val", "test")
        records = [record for subset in subsets for record in self.source.records(subset)]
        paths = sorted({record.path for record in records})
        place = hashlib.blake2b(os.path.commonpath(paths).encode(), digest_size=6).hexdigest()
        index_file = self.index_folder / f"{self.source.name}-{place}.json"
        self._infos = index_videos(paths, index_file, num_threads=os.cpu_count() or 1)

    def videos(self, subset: Subset) -> list[Video]:
        """Return the videos of a subset, each on its time line."""
        return [self._place(record) for record in self.source.records(subset)]

    def _place(self, record: VideoRecord) -> Video:
        return place_on_time_line(record, self._infos[record.path], self.fps)

    def section_clips(self, subset: Subset) -> SectionClips:
        """Return a subset as a data set of section clips: jittered for ``train``, centred otherwise."""
        training = subset == "train"
        num_sections, clips_per_section = self.train_scheme if training else self.test_scheme
        return SectionClips(
            self.videos(subset),
            self.reader,
            num_classes=len(self.classes),
            num_sections=num_sections,
            clips_per_section=clips_per_section,
            seed=self.seed if training else None,
        )

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return this process's share of shuffled, jittered batches, from where the training stands."""
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
        return DataLoader(
            clips,
            batch_sampler=BatchShares(order, self.batch_size, rank=rank, num_processes=processes, skip=skip),
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=_outlive_sigterm,
        )


def _outlive_sigterm(_: int) -> None:
    """Leave SIGTERM, which may reach all of a run's processes, to the training process, which saves before it ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
