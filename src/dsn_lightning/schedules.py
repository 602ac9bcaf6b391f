"""Learning rates as pure functions of the epoch, so that a resumed run needs no scheduler state."""

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dsn_lightning.errors import UsageError


class Schedule(Protocol):
    """A training's length and the factor that its base learning rates are multiplied with."""

    max_epochs: int

    def factor(self, epoch: float) -> float:
        """Return the factor at ``epoch``, a fraction inside an epoch: 2.5 is the middle of the third one."""


def _warm_up(epoch: float, warmup_epochs: float) -> float:
    return min(1.0, (epoch + 1e-3) / warmup_epochs) if warmup_epochs else 1.0


def _check_warm_up(warmup_epochs: float) -> None:
    if warmup_epochs < 0:
        raise UsageError(f"schedule.rule.warmup_epochs={warmup_epochs}: must be at least 0")


@dataclass(frozen=True)
class MultiStep:
    """Multiply by ``decay`` at each milestone, after a linear warm-up; both begin at ``start_epoch``.

    Sec. V-B: R3D-18 at 45 and 60 of 70 epochs, R(2+1)D-34 at 90 and 110 of 120.

    Args:
        max_epochs: length of the training.
        milestones: epochs, in increasing order.
        decay: factor of each.
        warmup_epochs: length of the warm-up, in this training's epochs.
        start_epoch: where both begin.
        of: length of a training in which the milestones stand where they are given; in any other they are scaled to
            its length, so that a shortened run has the same steps. None takes them as they are.

    Raises:
        UsageError: the milestones do not increase, or one lies outside such a training.

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
        given = list(self.milestones)
        if any(later <= earlier for earlier, later in itertools.pairwise(given)):
            raise UsageError(f"schedule.rule.milestones={given}: must increase")
        if self.of is not None and any(not 0 <= milestone <= self.of for milestone in given):
            raise UsageError(
                f"schedule.rule.milestones={given}: must lie between 0 and schedule.rule.of={self.of}, the length of "
                "the run that they are given for"
            )

    def steps(self) -> list[float]:
        """Return the epochs at which the factor falls."""
        scale = 1.0 if self.of is None else (self.max_epochs - self.start_epoch) / self.of
        return [self.start_epoch + milestone * scale for milestone in self.milestones]

    def factor(self, epoch: float) -> float:
        """Return the factor at ``epoch``."""
        epoch = max(epoch, self.start_epoch)
        return _warm_up(epoch - self.start_epoch, self.warmup_epochs) * self.decay ** bisect.bisect_right(
            self.steps(), epoch
        )


@dataclass(frozen=True)
class Cosine:
    """Fall from 1 to ``final`` along half a cosine, after a linear warm-up; both begin at ``start_epoch``.

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
        progress = min(1.0, epoch / length) if length else 0.0  # a sampler that the whole training only warms up for
        cosine = self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2
        return _warm_up(epoch, self.warmup_epochs) * cosine
