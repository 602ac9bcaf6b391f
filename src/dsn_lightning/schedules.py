"""Learning rates as pure functions of the epoch, so a resumed run needs no scheduler state."""

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dsn_lightning.errors import UsageError


class Schedule(Protocol):
    """Length of a training, and the factor of its learning rates."""

    max_epochs: int

    def factor(self, epoch: float) -> float:
        """Return the factor at a possibly fractional ``epoch``; 2.5 is the middle of the third epoch."""


def _warm_up(epoch: float, warmup_epochs: float) -> float:
    return min(1.0, (epoch + 1e-3) / warmup_epochs) if warmup_epochs else 1.0


def _check_warm_up(warmup_epochs: float) -> None:
    if warmup_epochs < 0:
        raise UsageError(f"warmup_epochs={warmup_epochs}: must be at least 0")


@dataclass(frozen=True)
class MultiStep:
    """Multiplies the learning rate by ``decay`` at each milestone, after a linear warm-up.

    Sec. V-B: R3D-18 at 45 and 60 of 70 epochs, R(2+1)D-34 at 90 and 110 of 120.

    Args:
        max_epochs: length of the training.
        milestones: epochs, in increasing order.
        decay: factor at each milestone.
        warmup_epochs: length of the warm-up, in epochs of this training.
        start_epoch: where the warm-up and the count of the milestones start.
        of: length of the training that the milestones are given for; None does not scale them to this training.

    Raises:
        UsageError: the milestones do not increase or are not between 0 and ``of``, or ``warmup_epochs`` is negative.

    >>> [round(MultiStep(70, milestones=(45, 60)).factor(e), 3) for e in (0, 44.9, 45, 60)]
    [1.0, 1.0, 0.1, 0.01]
    >>> [round(MultiStep(7, milestones=(45, 60), of=70).factor(e), 3) for e in (4.4, 4.5, 5.9, 6)]
    [1.0, 0.1, 0.1, 0.01]
    """

    max_epochs: int
    milestones: Sequence[float]
    decay: float = 0.1
    warmup_epochs: float = 0.0
    start_epoch: float = 0.0
    of: float | None = None

    def __post_init__(self) -> None:
        _check_warm_up(self.warmup_epochs)
        milestones = list(self.milestones)
        if any(later <= earlier for earlier, later in itertools.pairwise(milestones)):
            raise UsageError(f"milestones={milestones}: must increase")
        if self.of is not None and any(not 0 <= milestone <= self.of for milestone in milestones):
            limit = f"of={self.of}, the length of the run that they are given for"
            raise UsageError(f"milestones={milestones}: must be between 0 and {limit}")

    def steps(self) -> list[float]:
        """Return the epochs at which the factor decreases."""
        scale = 1.0 if self.of is None else (self.max_epochs - self.start_epoch) / self.of
        return [self.start_epoch + milestone * scale for milestone in self.milestones]

    def factor(self, epoch: float) -> float:
        """Return the factor at ``epoch``."""
        epoch = max(epoch, self.start_epoch)
        num_steps = bisect.bisect_right(self.steps(), epoch)
        return _warm_up(epoch - self.start_epoch, self.warmup_epochs) * self.decay**num_steps


@dataclass(frozen=True)
class Cosine:
    """Decreases the factor from 1 to ``final`` along half a cosine, times a linear warm-up.

    Args:
        max_epochs: length of the training.
        warmup_epochs: length of the warm-up, in epochs.
        final: factor at the end.
        start_epoch: where the cosine and the warm-up start.

    Raises:
        UsageError: ``warmup_epochs`` is negative.

    >>> round(Cosine(10).factor(5), 3)
    0.5
    >>> round(Cosine(12, start_epoch=2).factor(7), 3)
    0.5
    >>> Cosine(12, start_epoch=12).factor(3)
    1.0
    """

    max_epochs: int
    warmup_epochs: float = 0.0
    final: float = 0.0
    start_epoch: float = 0.0

    def __post_init__(self) -> None:
        _check_warm_up(self.warmup_epochs)

    def factor(self, epoch: float) -> float:
        """Return the factor at ``epoch``."""
        epoch = max(0.0, epoch - self.start_epoch)
        length = self.max_epochs - self.start_epoch
        progress = min(1.0, epoch / length) if length else 0.0  # 0 if the sampler never trains
        cosine = self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2
        return _warm_up(epoch, self.warmup_epochs) * cosine
