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
        path: the video file, or the folder of its frames, absolute. It need not exist: copies of public data sets
            are seldom whole.
        labels: indices of its classes. None at all only in testing: a background video, a negative of every class.
        spans: half-open ``[start, end)`` in seconds where the labelled action shows, or None where this is not
            known. Used only for measuring hit rates, never for training.
        segment: the part of the file that is this video, half-open ``[start, end)`` in seconds from the file's first
            frame; None for all of it.
        group: what it was cut from (a film, a person, an upload): no group should be trained and tested on. None
            where this is not known.
    """

    video_id: str
    path: Path
    labels: tuple[int, ...]
    spans: tuple[tuple[float, float], ...] | None = None
    segment: tuple[float, float] | None = None
    group: str | None = None


class VideoSource(Protocol):
    """What the data module asks of a data set. A new data set is one file with such a class, and one YAML.

    Attributes:
        name: of the data set in results.
        root: the folder of the videos, absolute; every record's path lies below it.
    """

    name: str
    root: Path

    @property
    def classes(self) -> Sequence[str]:
        """Class names; a label is an index into them."""

    def prepare(self) -> None:
        """Make or check what is needed on disk.

        Called before anything else, and again where it is made already; trainings and evaluations that use the same
        folder for what is made of the data set, and their processes, take turns.
        """

    def records(self, subset: Subset) -> list[VideoRecord]:
        """Return the videos of ``train``, ``val`` (held out of training; may be empty) or ``test``.

        All that the data set lists, also those whose file is not there: the data module counts them.
        """
