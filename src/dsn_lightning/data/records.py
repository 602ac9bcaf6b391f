"""What a data set is made of: a list of videos with labels, and where the action shows if that is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Subset = Literal["train", "val", "test"]


@dataclass(frozen=True)
class VideoRecord:
    """One video of a data set.

    Attributes:
        video_id: unique within the data set; the key of all random numbers and stored scores.
        path: the video file, absolute.
        labels: indices of its classes, at least one.
        spans: half-open ``[start, end)`` in seconds where the labelled action shows, or None where this is not
            known. Used only for measuring hit rates, never for training.
    """

    video_id: str
    path: Path
    labels: tuple[int, ...]
    spans: tuple[tuple[float, float], ...] | None = None


class VideoSource(Protocol):
    """What the data module asks of a data set. A new data set is one file with such a class, and one YAML."""

    name: str

    @property
    def classes(self) -> Sequence[str]:
        """Class names; a label is an index into them."""

    def prepare(self) -> None:
        """Make or check what is needed on disk. Called once, in one process, before anything else."""

    def records(self, subset: Subset) -> list[VideoRecord]:
        """Return the videos of ``train``, ``val`` (held out of training; may be empty) or ``test``."""
