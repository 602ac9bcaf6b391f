"""Giving networks stored activations in place of pixels, where all of them begin with the same frozen blocks."""

import copy
import hashlib
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.optimization import fuse

from dsn_lightning.algorithms.dsn import DSN
from dsn_lightning.algorithms.recognizer import Recognizer
from dsn_lightning.backbones.clip_network import ClipNetwork, frozen_part
from dsn_lightning.config.settings import Settings
from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.datasets.records import SUBSETS, Subset
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.scores import weights_hash
from dsn_lightning.prepare.frozen_features import Activations, compute_activations
from dsn_lightning.video.modality import CHANNELS


def clip_networks(recognizers: Sequence[Recognizer]) -> list[ClipNetwork]:
    """Return the clip networks: classifiers and trunks of observation networks."""
    return [r.classifier for r in recognizers] + [r.observation.trunk for r in recognizers if isinstance(r, DSN)]


def share_frozen_blocks(recognizers: Sequence[Recognizer]) -> bool:
    """Return whether all networks begin with the same frozen blocks on the same input."""
    networks = clip_networks(recognizers)
    if not all(network.frozen_blocks for network in networks):
        return False
    scales = {(tuple(r.mean.flatten().tolist()), tuple(r.std.flatten().tolist())) for r in recognizers}
    return len({weights_hash(frozen_part(network)) for network in networks}) == len(scales) == 1


def use_frozen_features(
    settings: Settings,
    data: SectionClipDataModule,
    recognizers: Sequence[Recognizer],
    *,
    device: torch.device,
    subsets: Sequence[Subset] = SUBSETS,
) -> None:
    """Compute the activations of all videos that ``data`` has set up, unless they exist, and read them from now on.

    ``subsets`` are those whose videos are needed. Recognisers that do not share their frozen blocks are refused.
    """
    if not share_frozen_blocks(recognizers):
        raise UsageError(
            "backbone.cache_activations=true: classifier and observation network must begin with the same frozen "
            "blocks (backbone=mobilenet_v2 with backbone.network.frozen_blocks above 0, observation=mobilenet_v2 with "
            "the same number and the same weights); use backbone.cache_activations=false for others"
        )
    recognizer = recognizers[0].to(device)
    frozen = frozen_part(clip_networks(recognizers)[0])
    folded = fuse(copy.deepcopy(frozen).eval())  # batch norms into convolutions: twice as fast
    folded = folded.to(device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def network(frames: Tensor) -> Tensor:
        x = recognizer.normalize(frames.to(device).unsqueeze(2)).squeeze(2)
        return folded(x.contiguous(memory_format=torch.channels_last))

    side = settings.backbone.crop_size
    channels, height, width = network(torch.zeros(1, CHANNELS[data.modality], side, side, dtype=torch.uint8)).shape[1:]
    name = _folder_name(settings, data, recognizer, weights_hash(frozen))
    store = Activations(data.prepared / "activations" / name, (channels, height, width))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several videos at a time are the parallelism
    try:
        videos = [video for subset in subsets if subset in data.inventory() for video in data.videos(subset)]
        skip = data.bad_video_policy.skip
        compute_activations(videos, data.reader, network, store, jobs=cores, skip_bad=skip, show=settings.progress)
    finally:
        torch.set_num_threads(threads)
    data.read_activations(store)


def _folder_name(settings: Settings, data: SectionClipDataModule, recognizer: Recognizer, weights: str) -> str:
    """Return a name that stands for everything that a frame's activations depend on."""
    backbone = settings.backbone
    content: list[Any] = [weights, list(backbone.frame_size), backbone.crop_size, data.crop.resize, data.modality]
    content += [data.copies_made_with, str(settings.dataset.reading.decoder)]
    content += [recognizer.mean.tolist(), recognizer.std.tolist()]
    return hashlib.blake2b(repr(content).encode(), digest_size=8).hexdigest()
