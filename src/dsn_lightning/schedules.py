"""Learning rates as pure functions of the epoch, so that a resumed run needs no scheduler state."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """A training's length and the factor that its base learning rates are multiplied with."""

    max_epochs: int

    def factor(self, epoch: float) -> float:
        """Return the factor at ``epoch``, a fraction inside an epoch: 2.5 is the middle of the third one."""


def _warm_up(epoch: float, warmup_epochs: float) -> float:
    return min(1.0, (epoch + 1e-3) / warmup_epochs) if warmup_epochs else 1.0


@dataclass(frozen=True)
class MultiStep:
    """Multiply by ``decay`` at each milestone.

    Sec. V-B: R3D-18 at 45 and 60 of 70 epochs, R(2+1)D-34 at 90 and 110 of 120.

    >>> [round(MultiStep(70, milestones=(45, 60)).factor(e), 3) for e in (0, 44.9, 45, 60)]
    [1.0, 1.0, 0.1, 0.01]
    """

    max_epochs: int
    milestones: Sequence[int]
    decay: float = 0.1
    warmup_epochs: float = 0.0

    def factor(self, epoch: float) -> float:
        """Return the factor at ``epoch``."""
        return _warm_up(epoch, self.warmup_epochs) * self.decay ** bisect.bisect_right(list(self.milestones), epoch)


@dataclass(frozen=True)
class Cosine:
    """Fall from 1 to ``final`` along half a cosine, after a linear warm-up; both begin at ``start_epoch``.

    >>> round(Cosine(10).factor(5), 3)
    0.5
    >>> round(Cosine(12, start_epoch=2).factor(7), 3)
    0.5
    """

    max_epochs: int
    warmup_epochs: float = 0.0
    final: float = 0.0
    start_epoch: float = 0.0

    def factor(self, epoch: float) -> float:
        """Return the factor at ``epoch``."""
        epoch = max(0.0, epoch - self.start_epoch)
        progress = min(1.0, epoch / (self.max_epochs - self.start_epoch))
        cosine = self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2
        return _warm_up(epoch, self.warmup_epochs) * cosine
