"""Activations in place of pixels: what a network's frozen blocks give for each frame, computed once and kept on disk.

Where the first blocks of a network on single frames are not trained, a frame's activations are the same in every
epoch. Each video has a file of them, for the frames on its time line as testing crops them and for their mirror images,
which are all the views that training then draws from.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from dsn_lightning.errors import UsageError
from dsn_lightning.video.clip_reader import ClipReader, Video
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.sections import IntArray
from dsn_lightning.video.video_info import VideoError

_AT_ONCE = 16  # frames; more no longer fit into the caches of a core, and take twice as long
_READ_AT_ONCE = 256  # frames; long videos do not have to fit into memory
_VIEWS = 2  # as it is, and mirrored


@dataclass(frozen=True)
class Activations:
    """Reads activations that `compute` has stored; a `FrameReader` of them.

    Attributes:
        folder: holds a file a video.
        shape: of a frame's activations, (C', H', W').
    """

    folder: Path
    shape: tuple[int, int, int]

    def file(self, video: Video) -> Path:
        """Return where the activations of a video are; another name when its content or its time line is another."""
        info = video.info
        content = f"{video.record.video_id} {info.digest or info.made} {info.num_frames}".encode()
        key = hashlib.blake2b(content + _frames_of(video).tobytes(), digest_size=12)
        return self.folder / f"{key.hexdigest()}.npy"

    def __call__(self, video: Video, indices: IntArray, size: tuple[int, int]) -> NDArray[Any]:
        """Return the activations of the file's frames ``indices`` in both views, float16 (F, 2, C', H', W').

        Raises:
            VideoError: they have not been computed, or the file is damaged.
        """
        if not self.file(video).is_file():
            raise VideoError(video.record.path, "has no activations: it could not be read when they were computed")
        try:
            stored = np.load(self.file(video), mmap_mode="r")
            return np.asarray(stored[np.searchsorted(_frames_of(video), indices)])
        except (OSError, ValueError, IndexError) as error:
            raise VideoError(video.record.path, f"its activations cannot be read ({error})") from error


@dataclass(frozen=True)
class View:
    """Chooses a clip's view, where a `Crop` would cut it out of pixels.

    Attributes:
        flip: probability of the mirror image in training, [0, 1].
        frame_size: of the pixels that the activations were computed from.
        crop_size: likewise.
    """

    flip: float
    frame_size: tuple[int, int]
    crop_size: int

    def __call__(self, frames: NDArray[Any], rng: np.random.Generator | None) -> Tensor:
        """Return a clip, float16 (C', T, H', W').

        Args:
            frames: both views, (T, 2, C', H', W').
            rng: draws the view; None takes the frames as they are.
        """
        view = int(rng is not None and rng.random() < self.flip)
        return torch.from_numpy(np.ascontiguousarray(frames[:, view].swapaxes(0, 1)))


def _frames_of(video: Video) -> IntArray:
    """Return the file's frames that stand on the time line, increasing."""
    return np.unique(video.source)


def compute(
    videos: list[Video],
    reader: ClipReader,
    network: Callable[[Tensor], Tensor],
    store: Activations,
    *,
    jobs: int = 1,
    skip_bad: bool = False,
    show: bool = True,
) -> None:
    """Store the activations of videos that have none yet; of several processes one computes, the others wait.

    Args:
        videos: what to read.
        reader: of their pixels.
        network: frozen blocks, uint8 frames (F, C, H, W) -> activations (F, C', H', W').
        store: where they go.
        jobs: videos at a time.
        skip_bad: leave out videos that cannot be read; they count as bad when their clips are read.
        show: draw a progress bar.

    Raises:
        UsageError: the disk has not that much room.
        VideoError: a video cannot be read, and bad ones are not skipped.
        OSError: they cannot be written.
        ValueError: an activation is no number, or too large for 16 bits.
    """
    store.folder.mkdir(parents=True, exist_ok=True)
    centre = Crop(reader.crop.frame_size, reader.crop.crop_size)

    def one(video: Video) -> None:
        wanted = _frames_of(video)
        target = store.file(video)
        partial = target.with_suffix(".partial")
        shape = (len(wanted), _VIEWS, *store.shape)
        try:
            stored = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
            for first in range(0, len(wanted), _READ_AT_ONCE):
                part = wanted[first : first + _READ_AT_ONCE]
                pixels = centre(reader.read(video, part, centre.frame_size), None).transpose(0, 1)  # (F, C, H, W)
                for view, frames in enumerate((pixels, centre.mirror(pixels))):
                    results = [network(few).to(torch.float16).cpu() for few in frames.split(_AT_ONCE)]
                    content = torch.cat(results)
                    if not content.isfinite().all():
                        raise ValueError(f"{video.record.path}: an activation is no number, or too large for 16 bits")
                    stored[first : first + len(part), view] = content.numpy()
            stored.flush()
            os.replace(partial, target)
        except VideoError:
            partial.unlink(missing_ok=True)
            if not skip_bad:
                raise
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    with FileLock(store.folder / ".lock"):
        for partial in store.folder.glob("*.partial"):  # of a call that was killed
            partial.unlink(missing_ok=True)
        lacking = {store.file(video): video for video in videos if not store.file(video).is_file()}
        if not lacking:
            return
        size = sum(len(_frames_of(video)) for video in lacking.values()) * _VIEWS * int(np.prod(store.shape)) * 2
        free = shutil.disk_usage(store.folder).free
        what = f"Activations of {len(lacking)} videos ({size / 1e9:.1f} GB)"
        if size > free:
            raise UsageError(
                f"{what} do not fit into {store.folder}, where {free / 1e9:.1f} GB are free; name another place with "
                "dataset.reading.prepared=DIR, lower dataset.fps, or do without: backbone.cache_activations=false"
            )
        console = Console(stderr=True, quiet=not show)
        with ThreadPoolExecutor(jobs) as pool:
            waiting = [pool.submit(one, video) for video in lacking.values()]
            try:
                for future in track(as_completed(waiting), what, len(waiting), console=console):
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
