"""dsn-cost measure=true: both networks timed on this machine."""

from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import nn

from dsn_lightning.commands.networks import ClipShape, build_classifier, build_observation, clip_shape
from dsn_lightning.cost.speed import PRECISIONS, device_name, measure
from dsn_lightning.errors import UsageError


def check_measuring(cfg: DictConfig) -> None:
    """Refuse settings that make no sense.

    Raises:
        UsageError: names the key, its value and the remedy.
    """
    if cfg.precision not in PRECISIONS:
        raise UsageError(f"precision={cfg.precision}: must be one of {', '.join(PRECISIONS)}")
    if cfg.device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device={cfg.device}: must be auto, cpu or cuda")
    if cfg.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda: torch finds no GPU on this machine; use device=cpu")


def measured(
    cfg: DictConfig, macs: dict[str, float], clips_per_section: int, *, clip: ClipShape | None = None
) -> dict[str, Any]:
    """Time the networks of ``cfg`` with random weights.

    Args:
        cfg: what they are, and how to measure.
        macs: ``classifier``, and ``observation`` if there is one -> multiply-adds of a clip.
        clips_per_section: N.
        clip: what they are given, (C, T, H, W); None takes the clips of ``cfg``.

    Returns:
        device, threads and settings, and under ``networks`` a list of `Speed.summary`.
    """
    device = torch.device(
        "cuda" if cfg.device == "cuda" or (cfg.device == "auto" and torch.cuda.is_available()) else "cpu"
    )
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    found = []
    network: nn.Module
    clip = clip or clip_shape(cfg)
    for role, per_clip in macs.items():
        torch.manual_seed(0)
        if role == "classifier":
            network, inner = build_classifier(cfg, cfg.num_classes), 1
            batch = torch.rand(cfg.batch_size, *clip)
        else:
            own = cfg.copy()
            own.N = inner = clips_per_section
            network = build_observation(own, cfg.num_classes)
            batch = torch.rand(cfg.batch_size, inner, *clip)
        clips = cfg.batch_size * inner
        speed = measure(
            network.to(device), batch.to(device), macs=round(per_clip * clips), clips=clips,
            precision=cfg.precision, repeats=cfg.repeats,
        )  # fmt: skip
        found.append({"network": role, "clips_at_once": clips, **speed.summary()})
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": cfg.precision,
        "repeats": cfg.repeats,
        "networks": found,
    }


def print_measured(found: dict[str, Any], console: Console) -> None:
    """Print what `measured` found."""
    table = Table(
        title=f"{found['device']}, CPU threads: {found['threads']}, {found['precision']}, torch {found['torch']}; "
        f"medians of {found['repeats']} runs (quartiles)"
    )
    for column in ("", "clips at once", "seconds a run", "clips/s", "GMAC/s", "matrices", "share of peak"):
        table.add_column(column, justify="left" if column == "" else "right", no_wrap=True)
    for own in found["networks"]:
        low, high = own["seconds_quartiles"]
        least, most = own["share_of_peak_quartiles"]
        table.add_row(
            own["network"], str(own["clips_at_once"]), f"{own['seconds']:.3g} ({low:.3g}-{high:.3g})",
            f"{own['clips_per_second']:.3g}", f"{own['gmacs_per_second']:.4g}", f"{own['peak_gmacs_per_second']:.4g}",
            f"{own['share_of_peak']:.0%} ({least:.0%}-{most:.0%})",
        )  # fmt: skip
    console.print(table)
    console.print(
        "Peak: a product of large matrices with the same threads and precision, timed between the runs.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
