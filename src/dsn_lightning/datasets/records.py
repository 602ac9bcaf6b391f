"""The contract of a data set: its videos as `VideoRecord`, and the protocol `VideoSource` that each one follows."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, get_args

from dsn_lightning.errors import UsageError

Subset = Literal["train", "val", "test"]
SUBSETS: tuple[Subset, ...] = get_args(Subset)

Metric = Literal["top1", "map"]
"""The figure that a data set's results are ranked by: top-1 accuracy or mean average precision."""


@dataclass(frozen=True)
class VideoRecord:
    """One video of a data set.

    Attributes:
        video_id: unique within the data set; the key of all random numbers and stored scores.
        path: the video file, or the folder of its frames, absolute; it may be missing.
        labels: indices of its classes. Empty only for background test videos, which are negatives of every class.
        spans: half-open ``[start, end)`` in seconds where the labelled action shows; only used to measure hit rates.
        segment: the part of the file that is this video, half-open ``[start, end)`` in seconds from its first frame.
        group: what it was cut from (a film, a person), which should not be in training and test videos at once.
    """

    video_id: str
    path: Path
    labels: tuple[int, ...]
    spans: tuple[tuple[float, float], ...] | None = None
    segment: tuple[float, float] | None = None
    group: str | None = None


class VideoSource(Protocol):
    """A data set: one file with a class that follows this protocol, and one YAML in ``conf/dataset``.

    Attributes:
        metric: the figure that its results are ranked by.
        num_classes: number of classes, known before any file is read; None if it depends on the files.
        name: name of the data set in results, and of its folder in the cache.
        root: the folder of the videos, absolute; the path of every record lies below it.
    """

    metric: ClassVar[Metric]
    num_classes: ClassVar[int | None]
    name: str
    root: Path

    @classmethod
    def official_counts(cls, **settings: Any) -> Mapping[Subset, int] | None:
        """Return the number of videos of each subset that the owners' lists name, before any file is read, or None.

        ``settings`` are the arguments that the data set would be built with; those without effect are ignored.
        """

    @property
    def classes(self) -> Sequence[str]:
        """Class names; a label is an index into them."""

    def prepare(self) -> None:
        """Create or check the files that the data set needs, before ``classes`` and ``records`` are read.

        It may be called again, by one process at a time, and then has nothing left to do.
        """

    def records(self, subset: Subset) -> list[VideoRecord]:
        """Return the videos of ``train``, ``val`` (held out; may be empty) or ``test``, missing files included."""


def check_source(source: object, key: str) -> None:
    """Check that the object that ``key`` (such as ``dataset=folder``) chose follows `VideoSource`; reads no file.

    Raises:
        UsageError: lists every attribute that is missing or has the wrong type.
    """
    names = ("metric", "num_classes", "name", "root", "official_counts", "classes", "prepare", "records")
    absent = object()
    found = {name: inspect.getattr_static(source, name, absent) for name in names}
    missing = [name for name, value in found.items() if value is absent]
    count = found["num_classes"]
    expected = {
        "metric": (found["metric"] in get_args(Metric), f"one of {', '.join(get_args(Metric))}"),
        "num_classes": (count is None or (type(count) is int and count > 0), "a whole number above 0, or None"),
        "name": (
            isinstance(name := found["name"], str) and name not in ("", ".", "..") and "/" not in name,
            "a string without a slash",
        ),
        "root": (isinstance(found["root"], Path) and found["root"].is_absolute(), "an absolute pathlib.Path"),
        "official_counts": (isinstance(found["official_counts"], classmethod | staticmethod), "a class method"),
        "prepare": (callable(found["prepare"]), "a method"),
        "records": (callable(found["records"]), "a method"),
    }
    problems = [f"missing: {', '.join(missing)}"] if missing else []
    problems += [
        f"expected {name} to be {what}, got {found[name]!r}"
        for name, (is_right, what) in expected.items()
        if not is_right and name not in missing
    ]
    if problems:
        kind = type(source).__qualname__
        raise UsageError(f"{key}: {kind} does not follow dsn_lightning.datasets.VideoSource: {'; '.join(problems)}")


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and "/" not in name
