"""Loading the clips of an evaluation: each video once, with all the clips that some network scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from dsn_lightning.data.batches import ClipLoader
from dsn_lightning.video.clip_reader import ClipReader
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.sections import IntArray
from dsn_lightning.video.time_line import Video
from dsn_lightning.video.video_info import VideoError


@dataclass(frozen=True)
class Loading:
    """How the clips are loaded."""

    num_workers: int = 0  #: number of loader processes; 0 loads in this process
    timeout: float = 0  #: seconds after which a loader process that returns no video counts as hung; 0 waits forever
    start_method: str | None = None  #: of loader processes, ``fork`` or ``spawn``, or threads; None: PyTorch's default
    skip_bad: bool = False  #: continue after a video that cannot be read


class CandidateClips(Dataset[tuple[int, Tensor | VideoError]]):
    """Each video's clips at their first frames ``starts``, each read once; an unreadable video gives its error."""

    def __init__(self, videos: Sequence[Video], starts: Sequence[IntArray], reader: ClipReader) -> None:
        self.videos = videos
        self.starts = starts
        self.reader = reader

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> tuple[int, Tensor | VideoError]:
        try:
            clips = self.reader(self.videos[index], self.starts[index])
            # In a loader process: its thread that sends clips would fail without a word if /dev/shm were full.
            return index, clips if get_worker_info() is None else clips.share_memory_()
        except VideoError as error:
            return index, error


def clip_loader(
    videos: Sequence[Video], starts: Sequence[IntArray], reader: ClipReader, *, crops: Literal[1, 3], loading: Loading
) -> ClipLoader:
    """Return a loader of `CandidateClips`; under torch.distributed, of this process's share of the videos."""
    if crops > 1:
        assert isinstance(reader.crop, Crop)  # stored activations have one crop
        reader = replace(reader, crop=replace(reader.crop, windows=crops))
    rank, processes = rank_and_processes()
    return ClipLoader(
        CandidateClips(videos, starts, reader),
        batch_size=None,
        sampler=range(rank, len(videos), processes),
        num_workers=loading.num_workers,
        start_workers=loading.start_method,
        timeout=loading.timeout,
    )


def rank_and_processes() -> tuple[int, int]:
    """Return this process's rank and the number of processes under torch.distributed; otherwise 0 and 1."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
