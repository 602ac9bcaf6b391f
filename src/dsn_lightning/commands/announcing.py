"""What dsn-train says of a training, before it and where it is stopped."""

import sys
from contextlib import suppress
from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig

from dsn_lightning.data.datamodule import SUBSETS, SectionClipDataModule


def announcement(cfg: DictConfig, trainer: pl.Trainer, num_train: int) -> str:
    """Say what a step is made of, and its learning rates."""
    own = cfg.schedule
    rates = f"learning rate {own.lr}" + _head_rate(own.get("head_lr"))
    if cfg.algorithm.name != "baseline":
        rates += f", the sampler's {own.sampler_lr}" + _head_rate(own.get("sampler_head_lr"))
    shares = f" over {trainer.world_size} processes" if trainer.world_size > 1 else ""
    groups = f" x {cfg.schedule.accumulate} accumulated" if cfg.schedule.accumulate > 1 else ""
    return f"{num_train} training videos; {cfg.schedule.batch_size}{groups} a step{shares}; {rates} (not scaled)"


def _head_rate(rate: float | None) -> str:
    return "" if rate is None else f" (the last layer's {rate})"


def what_lacks(data: SectionClipDataModule) -> list[str]:
    """Say how many of the listed videos are missing or bad; nothing where all are there."""
    stock = data.stock()
    counts = {s: (len(data.missing[s]), len(data.bad[s]), stock[s]["listed"]) for s in SUBSETS}
    return [
        f"{subset}: {missing} of {listed} listed videos are missing, {bad} cannot be used; videos.json names them"
        for subset, (missing, bad, listed) in counts.items() if missing or bad
    ]  # fmt: skip


def say_stopped(cfg: DictConfig, trainer: pl.Trainer, run_dir: Path) -> None:
    """Say how far the training came and how it goes on."""
    epochs = trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
    done = f"{epochs} of {cfg.schedule.max_epochs} epochs"
    with suppress(OSError):  # Ctrl-C ends what stderr is piped to as well
        print(f"stopped and saved after {done}; resume={run_dir} goes on", file=sys.stderr, flush=True)
