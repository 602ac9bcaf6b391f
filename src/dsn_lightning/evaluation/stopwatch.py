"""The time that each network takes in an evaluation."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Stopwatch:
    """The time that each network took, in seconds, and the number of clips that it processed."""

    seconds: dict[str, float] = field(default_factory=dict)
    clips: dict[str, int] = field(default_factory=dict)

    def time(self, name: str, num_clips: int, network: Callable[[Tensor], Tensor], clips: Tensor) -> Any:
        """Return ``network(clips)`` as an array and count its time for ``num_clips`` clips."""
        started = time.perf_counter()
        result = network(clips).float().cpu().numpy()  # waits for the device
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        self.clips[name] = self.clips.get(name, 0) + num_clips
        return result

    @classmethod
    def sum(cls, parts: Iterable["Stopwatch"]) -> "Stopwatch":
        """Return the total over several processes."""
        total = cls()
        for part in parts:
            for name, seconds in part.seconds.items():
                total.seconds[name] = total.seconds.get(name, 0.0) + seconds
                total.clips[name] = total.clips.get(name, 0) + part.clips[name]
        return total

    def per_clip(self, name: str) -> float | None:
        """Return the mean seconds per clip, or None for a network that did not run."""
        return self.seconds[name] / self.clips[name] if name in self.seconds else None
