"""What readers of listed data sets share: finding folders and files, reading lists, holding videos out of training."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsn_lightning.datasets.records import Subset, VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.stateless_random import stateless_rng

VIDEO_EXTENSIONS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
"""Endings, in lower case, of what is taken for a video."""


class ListedVideos:
    """A data set whose videos are known from its annotations, whether their files are there or not: a `VideoSource`.

    Args:
        name: of the data set in results.
        root: folder of the videos, absolute.
        classes: class names.
        train: training videos.
        test: test videos.
        val_fraction: share of the training videos (of their groups, where these are known) that is held out for
            following the training, in [0, 1).
        seed: decides which ones.

    Raises:
        UsageError: ``val_fraction`` is out of range, or a video is listed twice.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        classes: Sequence[str],
        train: Sequence[VideoRecord],
        test: Sequence[VideoRecord],
        *,
        val_fraction: float = 0.0,
        seed: int = 0,
    ) -> None:
        ids = set()
        for video in (*train, *test):
            if video.video_id in ids:
                raise UsageError(f"dataset={name}: its annotations list {video.video_id!r} twice")
            ids.add(video.video_id)
        self.name = name
        self.root = root
        self._classes = tuple(classes)
        kept, held_out = hold_out(train, val_fraction, seed=seed)
        self._videos: Mapping[Subset, Sequence[VideoRecord]] = {"train": kept, "val": held_out, "test": test}

    @property
    def classes(self) -> Sequence[str]:
        """Class names; a label is an index into them."""
        return self._classes

    def prepare(self) -> None:
        """Nothing to make."""

    def records(self, subset: Subset) -> list[VideoRecord]:
        """Return the videos of a subset in the order of the annotations, whether their files are there or not."""
        return list(self._videos[subset])


def unit_of(video: VideoRecord) -> str:
    """Return what a video is held out with: its group, or itself."""
    return video.group or video.video_id


def hold_out(
    videos: Sequence[VideoRecord], fraction: float, *, seed: int, unit: Callable[[VideoRecord], str] = unit_of
) -> tuple[list[VideoRecord], list[VideoRecord]]:
    """Divide training videos into those trained on and those held out; videos of a group stay together.

    Args:
        videos: to divide.
        fraction: share of the groups, or of the videos without one, that is held out, in [0, 1); at least one of them
            if it is above 0.
        seed: decides which ones.
        unit: names what stays together.

    Raises:
        UsageError: ``fraction`` is out of range.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction < 1:
        raise UsageError(f"dataset.val_fraction={fraction}: must be at least 0 and less than 1")
    units = sorted({unit(video) for video in videos})
    count = min(max(1, round(fraction * len(units))), len(units) - 1) if fraction else 0
    held = {units[i] for i in stateless_rng(seed, "held out").permutation(len(units))[:count]} if count else set()
    kept = [video for video in videos if unit(video) not in held]
    return kept, [video for video in videos if unit(video) in held]


@contextmanager
def expected_form(where: Path) -> Iterator[None]:
    """Say in a line that an annotation file has another form than the reader inside expects.

    Raises:
        UsageError: names the file, and the field that is lacking or what was found in its place.
    """
    try:
        yield
    except UsageError:
        raise
    except KeyError as error:
        raise UsageError(f"{where}: an entry has no {error.args[0]!r}; is it another file?") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"{where}: has another form than expected ({error})") from error


def refuse_outside(videos: Iterable[VideoRecord], root: Path, *, where: Path) -> None:
    """Refuse videos that an annotation file places above the data set's folder.

    Args:
        videos: of the data set.
        root: its folder.
        where: the file or folder of annotations, for the message.

    Raises:
        UsageError: names one.
    """
    for video in videos:
        if not Path(os.path.normpath(video.path)).is_relative_to(root):
            raise UsageError(f"{where}: {video.video_id!r} does not lie below dataset.root={root}")


def root_folder(root: str | None, *, holds: str) -> Path:
    """Return ``dataset.root`` as an absolute path.

    Args:
        root: what the user gave.
        holds: what should be in it, for the message.

    Raises:
        UsageError: it is not given, or there is no such folder.
    """
    if root is None:
        raise UsageError(f"dataset.root is not set: give the folder that holds {holds}")
    folder = Path(root).expanduser().absolute()
    if not folder.is_dir():
        raise UsageError(f"dataset.root={root}: no such folder; it should hold {holds}")
    return folder


def annotation_path(given: str | None, places: Sequence[Path], *, holds: str) -> Path:
    """Return the file or folder of annotations: the one that the user names, or the first of ``places`` that is there.

    Raises:
        UsageError: there is none.
    """
    if given is not None:
        path = Path(given).expanduser().absolute()
        if not path.exists():
            raise UsageError(f"dataset.annotations={given}: no such file or folder; it should be {holds}")
        return path
    for place in places:
        if place.exists():
            return place
    looked = ", ".join(map(str, places))
    raise UsageError(f"no annotations found ({looked}): put {holds} there, or name it with dataset.annotations=PATH")


def choose_split(split: int) -> int:
    """Return the split, 1, 2 or 3.

    Raises:
        UsageError: it is anything else.
    """
    if isinstance(split, bool) or split not in (1, 2, 3):
        raise UsageError(f"dataset.split={split}: must be 1, 2 or 3, one of the official splits")
    return int(split)


def first_folder(*places: Path) -> Path:
    """Return the first of these folders that is there; the last one if none is."""
    return next((place for place in places if place.is_dir()), places[-1])


def read_lines(file: Path) -> list[str]:
    """Return the lines of a text file that hold something, without white space at their ends.

    Raises:
        UsageError: the file is missing, is not UTF-8 or holds nothing.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = "is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else "no such file"
        raise UsageError(f"{file}: {what}") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UsageError(f"{file}: the list is empty")
    return lines


def split_last(line: str, where: Path) -> tuple[str, str]:
    """Return a line's name, which may have spaces in it, and the word behind it.

    Raises:
        UsageError: there is only one word.

    >>> split_last("Amazing Soccer #2.avi 1", Path("list.txt"))
    ('Amazing Soccer #2.avi', '1')
    """
    name, *value = line.rsplit(maxsplit=1)
    if not value:
        raise UsageError(f"{where}: {line!r} has no label behind the name")
    return name, value[0]


def stem_of(name: str) -> str:
    """Return a file's name without the ending of a video; other dots belong to the name.

    >>> stem_of("v_a.b_g01.avi"), stem_of("Dr._No")
    ('v_a.b_g01', 'Dr._No')
    """
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in VIDEO_EXTENSIONS else name


def video_files(*folders: Path) -> dict[str, Path]:
    """Return the videos that lie directly in these folders: name without its ending -> path.

    Each folder is listed once, which is cheap where asking for every file is not. Any container will do; a folder is
    taken for a video's frames where no file has its name. The first folder comes first, and .avi before .mp4.
    """
    files: dict[str, Path] = {}
    frames: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            continue
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    frames.setdefault(entry.name, folder / entry.name)
                elif (stem := stem_of(entry.name)) != entry.name:
                    files.setdefault(stem, folder / entry.name)
    return frames | files


def read_json(file: Path, *keys: str) -> dict[str, Any]:
    """Return the mapping that a JSON file holds.

    Raises:
        UsageError: it is no JSON file, or lacks one of ``keys``.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read as JSON ({error})") from None
    if not isinstance(content, dict) or any(key not in content for key in keys):
        raise UsageError(f"{file}: is no annotation file of the expected form; it needs {' and '.join(keys)}")
    return content


def union(segments: Iterable[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    """Return the time that ``[start, end)`` segments cover, in seconds: disjoint, in the order of time.

    Annotations overlap, where a dive is also a cliff dive; a clip must not show the same second twice. A segment
    that ends before it starts covers nothing.

    >>> union([(4, 6), (1.0, 2.0), (5, 8), (4, 6), (3, 3)])
    ((1.0, 2.0), (4.0, 8.0))
    """
    covered: list[tuple[float, float]] = []
    for start, end in sorted((float(start), float(end)) for start, end in segments):
        if start >= end:
            continue
        if covered and start <= covered[-1][1]:
            covered[-1] = (covered[-1][0], max(end, covered[-1][1]))
        else:
            covered.append((start, end))
    return tuple(covered)
