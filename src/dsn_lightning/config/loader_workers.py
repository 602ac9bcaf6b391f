"""How batches reach the device: the data loader workers where ``num_workers`` is ``auto``, pinned memory."""

import math
import shutil
from pathlib import Path
from typing import NamedTuple

import torch

from dsn_lightning.child_process import THREAD
from dsn_lightning.config.process_counts import ProcessKeys, num_local_processes
from dsn_lightning.config.settings import Settings
from dsn_lightning.launch.process_rank import started_as_one_of_many
from dsn_lightning.launch.processes import available_threads
from dsn_lightning.video.modality import CHANNELS

_MOST = 16
_BATCHES_AHEAD = 2  # of each worker; PyTorch's prefetch_factor
_SHARED_MEMORY = Path("/dev/shm")


class LoaderWorkers(NamedTuple):
    """The data loader workers of a process."""

    number: int  #: 0: the process loads its batches itself
    start: str | None  #: how processes start, or `THREAD`; None leaves it to PyTorch


def loader_workers(settings: Settings) -> LoaderWorkers:
    """Return the data loader workers of each process of a training or an evaluation.

    ``num_workers=auto``: where frames or activations are kept, one thread, because a process would keep its own.
    Otherwise a process on a GPU has as many as its share of the cores leaves, one on the CPU has one. Fewer are taken
    if the batches that they prepare would not fit into half of the free shared memory, which threads do not use.
    A process with one core has none.
    """
    start = settings.start_workers
    if settings.num_workers != "auto":
        return LoaderWorkers(int(settings.num_workers), start)
    processes = num_local_processes(settings.trainer)
    share = available_threads() if started_as_one_of_many() else available_threads() // processes
    spare = max(0, share - 1)
    if settings.dataset.reading.cache_frames or settings.backbone.cache_activations:
        return LoaderWorkers(min(spare, 1), THREAD) if start in (None, THREAD) else LoaderWorkers(0, start)
    room = 2**62 if start == THREAD else _free_shared_memory()
    fitting = room // (2 * _BATCHES_AHEAD * _batch_bytes(settings) * processes)
    return LoaderWorkers(min(spare, fitting, _MOST if trains_on_gpu(settings.trainer) else 1), start)


def trains_on_gpu(trainer: ProcessKeys) -> bool:
    """Return whether the processes of a training compute on GPUs."""
    return trainer.accelerator != "cpu" and torch.cuda.is_available()


def _batch_bytes(settings: Settings) -> int:
    """Return the bytes of a process's share of a batch of section clips, uint8 (B, M, N, C, T, H, W).

    With ``crop_on_device``, those of whole frames, if no two clips share one.
    """
    backbone, share = settings.backbone, math.ceil(settings.schedule.batch_size / num_local_processes(settings.trainer))
    pixels = math.prod(backbone.frame_size) if settings.dataset.reading.crop_on_device else backbone.crop_size**2
    clip = CHANNELS[settings.dataset.modality] * backbone.frames_per_clip * pixels
    return share * int(settings.M) * settings.algorithm.train_N * clip


def _free_shared_memory() -> int:
    """Return the bytes that are free where workers leave their batches; without a limit if it is not a file system."""
    return shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else 2**62
