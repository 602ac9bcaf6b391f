"""Batches of clips that are cut on the device: frames go there once, and not once for each clip that shows them.

items = [UncutClips, ...]        loader: frames, and windows that are drawn
batch = uncut_batch(items)       loader: tensors, whose size depends on the videos
clips = cut_clips(batch, 112)    device, after the transfer
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from dsn_lightning.video.clip_reader import UncutClips
from dsn_lightning.video.crops import Crop, scaled


def uncut_batch(items: Sequence[UncutClips]) -> dict[str, Any]:
    """Return a batch's frames, uint8 (F, H, W, C), and its windows, by their sides.

    ``windows[side]`` has, for k windows, ``rows``, the positions of their frames (k, T); ``top``, ``left`` (k,); the
    mask ``mirrored`` (k,); and ``clip`` (k,), their positions in the batch. All are tensors, so that they are on the
    device before it needs them, and the process need not wait for it.
    """
    first = np.cumsum([0, *(len(item.frames) for item in items[:-1])])
    rows = np.concatenate([item.rows + start for item, start in zip(items, first, strict=True)])
    of_side: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for number, cut in enumerate(cut for item in items for cut in item.cuts):
        of_side[cut.side].append((number, cut.top, cut.left, cut.mirrored))
    windows = {}
    for side, found in of_side.items():
        clip, top, left, mirror = torch.tensor(found).T.contiguous()
        part = {"clip": clip, "top": top, "left": left, "mirrored": mirror.bool()}
        windows[side] = {**part, "rows": torch.from_numpy(rows)[clip]}
    return {"frames": _joined([torch.from_numpy(item.frames) for item in items]), "windows": windows}


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Return videos' frames as one tensor; in a loader process in shared memory, without another copy."""
    if get_worker_info() is None:
        return torch.cat(list(parts))
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    shared = torch.empty(0, dtype=parts[0].dtype).set_(torch.UntypedStorage._new_shared(int(np.prod(shape))))
    return torch.cat(list(parts), out=shared.view(shape))


def cut_clips(batch: dict[str, Any], crop_size: int) -> Tensor:
    """Return the clips of an `uncut_batch`, uint8 (K, C, T, crop_size, crop_size), on the device of its frames."""
    frames: Tensor = batch["frames"]
    parts: list[dict[str, Tensor]] = list(batch["windows"].values())
    count, times = sum(len(part["clip"]) for part in parts), parts[0]["rows"].shape[1]
    clips = frames.new_empty((count, frames.shape[-1], times, crop_size, crop_size))
    for side, part in batch["windows"].items():
        along = torch.arange(side, device=frames.device)
        down, right = part["top"][:, None] + along, part["left"][:, None] + along  # (k, side)
        window = frames[part["rows"][:, :, None, None], down[:, None, :, None], right[:, None, None]]  # (k, T, ..., C)
        pixels = window.flatten(0, 1).permute(0, 3, 1, 2)  # (k T, C, side, side)
        flips = part["mirrored"].repeat_interleave(times)[:, None, None, None]
        flow = pixels.shape[1] == 2  # mirrored before it is scaled, as `Crop` does, so that the bits are the same
        if flow:
            pixels = torch.where(flips, Crop.mirror(pixels), pixels)
        pixels = scaled(pixels, crop_size)
        if not flow:
            pixels = torch.where(flips, Crop.mirror(pixels), pixels)
        clips[part["clip"]] = pixels.unflatten(0, (-1, times)).transpose(1, 2)
    return clips
