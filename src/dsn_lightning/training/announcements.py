"""The lines that dsn-train prints about a training: before it begins, and where it is interrupted."""

import sys
from collections.abc import Mapping
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


@dataclass(frozen=True)
class Subject:
    """What is trained on what."""

    algorithm: str
    dataset: str
    videos: Mapping[str, int]  # usable ones, by subset
    num_classes: int
    classifier: str  # name of the network
    num_sections: int  # M
    sampler: str | None  # name of the observation network; None without one
    clips_per_section: int  # N


def subject_summary(subject: Subject) -> str:
    """Return two lines: the algorithm with its videos, and the networks with their clips.

    >>> print(subject_summary(Subject("dsn", "ucf101", {"train": 9, "val": 0, "test": 3}, 5, "r3d_18", 6, "r2d_18", 3)))
    dsn on ucf101: 9 training, 0 held-out and 3 test videos, 5 classes
    r3d_18 classifies 6 clips of a video (M); r2d_18 chooses each from 3 (N)
    """
    counts = [subject.videos.get(subset, 0) for subset in ("train", "val", "test")]
    videos = "{} training, {} held-out and {} test videos".format(*counts)
    chooses = f"; {subject.sampler} chooses each from {subject.clips_per_section} (N)" if subject.sampler else ""
    return (
        f"{subject.algorithm} on {subject.dataset}: {videos}, {subject.num_classes} classes\n"
        f"{subject.classifier} classifies {subject.num_sections} clips of a video (M){chooses}"
    )


def step_summary(step: Step) -> str:
    """Return a line with the batch of a step and the learning rates.

    >>> step_summary(Step(8, 1, 2, lr=0.1, head_lr=1.0, sampler_lr=0.03))
    '8 videos per step over 2 processes; learning rate 0.1 (last layer 1.0), sampler 0.03 (not scaled)'
    """
    rates = f"learning rate {step.lr}" + _head_rate(step.head_lr)
    if step.sampler_lr is not None:
        rates += f", sampler {step.sampler_lr}" + _head_rate(step.sampler_head_lr)
    shares = f" over {step.processes} processes" if step.processes > 1 else ""
    groups = f" x {step.accumulate} accumulated" if step.accumulate > 1 else ""
    return f"{step.batch_size} videos{groups} per step{shares}; {rates} (not scaled)"


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
