"""Times of several ways to do the same, in turn, so that other work on the machine meets all of them."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from dsn_lightning.runs.environment import environment


class Times(NamedTuple):
    """Milliseconds of one way over all rounds."""

    cpu: list[float]  # of all threads of this process
    wall: list[float]

    def summary(self) -> dict[str, float]:
        """Return medians, and the fastest and slowest round."""
        return {
            "cpu_ms": round(median(self.cpu), 1),
            "cpu_least_ms": round(min(self.cpu), 1),
            "cpu_most_ms": round(max(self.cpu), 1),
            "wall_ms": round(median(self.wall), 1),
        }


def in_turn(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Times]:
    """Call each way once a round; the first round, which warms caches, is not counted."""
    times = {name: Times([], []) for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            cpu, wall = time.process_time(), time.perf_counter()
            way()
            if turn:
                times[name].cpu.append(1000 * (time.process_time() - cpu))
                times[name].wall.append(1000 * (time.perf_counter() - wall))
    return times


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with the same keys as columns."""
    names = list(rows[0])
    cells = [names, *([str(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    for line in cells:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def write_rows(path: Path | None, rows: Sequence[Mapping[str, Any]], **about: Any) -> None:
    """Write rows with the machine they were measured on."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"rows": rows, **about, **environment()}, indent=1) + "\n")
