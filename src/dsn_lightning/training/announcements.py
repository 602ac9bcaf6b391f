"""The lines that dsn-train prints about a training: before it begins, and where it is interrupted."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dsn_lightning.data.datamodule import SectionClipDataModule
from dsn_lightning.errors import printable


@dataclass(frozen=True)
class Step:
    """What one optimiser step is made of."""

    batch_size: int  # videos, over all processes
    accumulate: int  # batches a step
    processes: int  # processes that share a batch
    lr: float
    head_lr: float | None = None  # learning rate of the last layer; None: ``lr``
    sampler_lr: float | None = None  # None: there is no observation network
    sampler_head_lr: float | None = None


def training_summary(step: Step, *, num_videos: int) -> str:
    """Return a line with the number of training videos, the batch of a step and the learning rates.

    >>> training_summary(Step(8, 1, 2, lr=0.1, head_lr=1.0, sampler_lr=0.03), num_videos=12)
    '12 training videos; 8 per step over 2 processes; learning rate 0.1 (last layer 1.0), sampler 0.03 (not scaled)'
    """
    rates = f"learning rate {step.lr}" + _head_rate(step.head_lr)
    if step.sampler_lr is not None:
        rates += f", sampler {step.sampler_lr}" + _head_rate(step.sampler_head_lr)
    shares = f" over {step.processes} processes" if step.processes > 1 else ""
    groups = f" x {step.accumulate} accumulated" if step.accumulate > 1 else ""
    return f"{num_videos} training videos; {step.batch_size}{groups} per step{shares}; {rates} (not scaled)"


def _head_rate(rate: float | None) -> str:
    return "" if rate is None else f" (last layer {rate})"


def missing_videos_messages(data: SectionClipDataModule) -> list[str]:
    """Return a line for each subset of which listed videos are missing or bad."""
    inventory = data.inventory()
    counts = {s: (len(data.missing[s]), len(data.bad[s]), summary["listed"]) for s, summary in inventory.items()}
    return [
        f"{subset}: {missing} of {listed} listed videos are missing, {bad} cannot be used; see videos.json"
        for subset, (missing, bad, listed) in counts.items()
        if missing or bad
    ]


def print_interruption(*, epochs: int, max_epochs: int, run_dir: Path) -> None:
    """Print how far an interrupted training came and how to continue it."""
    with suppress(OSError):  # Ctrl-C also ends the program that stderr is piped to
        message = f"stopped and saved after {epochs} of {max_epochs} epochs; resume={run_dir} continues it"
        print(printable(message), file=sys.stderr, flush=True)
