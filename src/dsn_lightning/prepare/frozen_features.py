"""Activations instead of pixels: the output of a network's frozen blocks for each frame, computed once, kept on disk.

If the first blocks of a network that processes single frames are not trained, the activations of a frame are the same
in every epoch. Each video has one file of them, for the frames on its time line in the testing crop and for their
mirror images. Training draws from these two views.
"""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from dsn_lightning.errors import UsageError
from dsn_lightning.files import refuse_link, replace_durably
from dsn_lightning.prepare.stored_array import open_array
from dsn_lightning.text_tables import PrintableConsole
from dsn_lightning.video.clip_reader import ClipReader, FrameReader
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.sections import IntArray
from dsn_lightning.video.time_line import Video
from dsn_lightning.video.video_info import VideoError

_BATCH_FRAMES = 16  # more do not fit in the caches of a core, and take twice as long
_READ_FRAMES = 256  # at a time: long videos need not fit in memory
_VIEWS = 2  # original and mirrored


@dataclass(frozen=True)
class Activations:
    """Reads the activations that `compute_activations` stored; a `FrameReader`."""

    folder: Path  # has one file per video
    shape: tuple[int, int, int]  # of a frame's activations, (C', H', W')

    def file(self, video: Video) -> Path:
        """Return the file of a video's activations; its name depends on the video's content and time line."""
        info = video.info
        content = f"{video.record.video_id} {info.digest or info.made_with} {info.num_frames}".encode()
        key = hashlib.blake2b(content + frames_on_time_line(video).tobytes(), digest_size=12)
        return self.folder / f"{key.hexdigest()}.npy"

    def __call__(self, video: Video, indices: IntArray, size: tuple[int, int]) -> NDArray[Any]:
        """Return the activations of the file's frames ``indices`` in both views, float16 (F, 2, C', H', W').

        Raises:
            VideoError: they have not been computed, or the file is damaged.
        """
        if not self.file(video).is_file():
            raise VideoError(video.record.path, "no activations: it could not be read when they were computed")
        frames = frames_on_time_line(video)
        try:
            stored = open_array(self.file(video), shape=(len(frames), _VIEWS, *self.shape), dtype=np.float16)
            return np.asarray(stored[np.searchsorted(frames, indices)])
        except (OSError, ValueError) as error:
            raise VideoError(video.record.path, f"its activations cannot be read ({error})") from error


@dataclass(frozen=True)
class View:
    """Chooses the view of a clip of activations, as `Crop` chooses the window of a clip of pixels."""

    crop: Crop  # what cut the frames that the activations were computed from; its ``flip`` also mirrors activations

    @property
    def crop_size(self) -> int:
        """Side of the frames that the activations were computed from."""
        return self.crop.crop_size

    def scaled_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that frames were scaled to before they were cropped."""
        return self.crop.scaled_size(height, width)

    def __call__(self, frames: NDArray[Any], rng: np.random.Generator | None) -> Tensor:
        """Return a clip, float16 (C', T, H', W'), of both views (T, 2, C', H', W'); no ``rng`` takes the original."""
        view = int(rng is not None and rng.random() < self.crop.flip)
        return torch.from_numpy(np.ascontiguousarray(frames[:, view].swapaxes(0, 1)))


def frames_on_time_line(video: Video) -> IntArray:
    """Return the file's frames that are on the time line, increasing."""
    return np.unique(video.source)


def compute_activations(
    videos: Sequence[Video],
    reader: ClipReader,
    network: Callable[[Tensor], Tensor],
    store: Activations,
    *,
    jobs: int = 1,
    skip_bad: bool = False,
    show: bool = True,
) -> None:
    """Store the activations of the videos that have none yet; of several processes one computes, the others wait.

    Args:
        videos, reader, store: the videos, what reads their pixels, and where the activations go.
        network: frozen blocks, uint8 frames (F, C, H, W) -> activations (F, C', H', W').
        jobs: videos processed at the same time.
        skip_bad: leave out videos that cannot be read; reading their clips then raises `VideoError`.
        show: whether to draw a progress bar.

    Raises:
        UsageError: the disk has too little space.
        VideoError: a video cannot be read, and bad ones are not skipped.
        OSError: the activations cannot be written.
        ValueError: an activation is not finite in 16 bits.
    """
    store.folder.mkdir(parents=True, exist_ok=True)
    assert isinstance(reader.crop, Crop)
    crop = replace(reader.crop, windows=1)

    def compute(video: Video) -> None:
        try:
            _write_activations(video, reader.read, crop, network, store)
        except VideoError:
            if not skip_bad:
                raise

    refuse_link(store.folder / ".lock")
    with FileLock(store.folder / ".lock"):
        for partial in store.folder.glob("*.partial"):  # of a killed process
            partial.unlink(missing_ok=True)
        missing = list({store.file(video): video for video in videos if not store.file(video).is_file()}.values())
        if not missing:
            return
        title = _check_disk_space(missing, store)
        console = PrintableConsole(stderr=True, quiet=not show)
        with ThreadPoolExecutor(jobs) as pool:
            waiting = [pool.submit(compute, video) for video in missing]
            try:
                for future in track(as_completed(waiting), title, len(waiting), console=console):
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _write_activations(
    video: Video, read: FrameReader, crop: Crop, network: Callable[[Tensor], Tensor], store: Activations
) -> None:
    """Write the activations of a video in both views; after an error nothing is left behind."""
    frames, target = frames_on_time_line(video), store.file(video)
    size = crop.scaled_size(video.info.height, video.info.width)
    partial = target.with_suffix(".partial")
    try:
        shape = (len(frames), _VIEWS, *store.shape)
        stored = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
        for first in range(0, len(frames), _READ_FRAMES):
            part = frames[first : first + _READ_FRAMES]
            pixels = crop(read(video, part, size), None).transpose(0, 1)  # (F, C, H, W)
            for view, images in enumerate((pixels, Crop.mirror(pixels))):
                batches = images.split(_BATCH_FRAMES)
                content = torch.cat([network(batch).to(torch.float16).cpu() for batch in batches])
                if not content.isfinite().all():
                    raise ValueError(f"{video.record.path}: an activation is not finite in 16 bits")
                stored[first : first + len(part), view] = content.numpy()
        stored.flush()
        replace_durably(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _check_disk_space(videos: Sequence[Video], store: Activations) -> str:
    """Return a title with the size of the activations to compute, or refuse it if it does not fit on the disk."""
    num_frames = sum(len(frames_on_time_line(video)) for video in videos)
    size = num_frames * _VIEWS * int(np.prod(store.shape)) * 2
    free = shutil.disk_usage(store.folder).free
    title = f"Activations of {len(videos)} videos ({size / 1e9:.1f} GB)"
    if size > free:
        remedy = "dataset.reading.prepared=DIR, lower dataset.fps, or set backbone.cache_activations=false"
        place = f"{store.folder}, which has {free / 1e9:.1f} GB free"
        raise UsageError(f"{title} do not fit in {place}; choose another folder with {remedy}")
    return title
