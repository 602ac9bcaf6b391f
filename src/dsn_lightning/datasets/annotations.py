"""What the readers of annotated data sets share: finding folders and files, reading lists, holding out videos."""

import csv
import io
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from dsn_lightning.datasets.records import Metric, Subset, VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.files import UnreadableFileError, is_inside, parse_json, read_bounded, user_path
from dsn_lightning.stateless_random import stateless_rng

_MAX_COLUMNS = 100
MAX_ANNOTATION_BYTES = 2**28
"""Size of the largest file of annotations that is read."""

_YEAR = 365 * 24 * 3600.0
_EXTENSIONS = (
    "3g2 3gp asf avi divx dv f4v flv gif m2ts m2v m4v mkv mov mp4 mpe mpeg mpg mts mxf ogm ogv rm rmvb ts vob webm wmv"
)
VIDEO_EXTENSIONS = frozenset(f".{extension}" for extension in _EXTENSIONS.split())
"""File extensions, in lower case, that mark a video."""


class ListedVideos:
    """A `VideoSource` whose videos are known when it is built, whether their files exist or not.

    Args:
        name, root, classes: see `VideoSource`.
        train, test, val: videos of the subsets.
        val_fraction: share of the training videos (of their groups, where these are known) that is held out to follow
            the training, in [0, 1).
        seed: decides which videos are held out.

    Raises:
        UsageError: ``val_fraction`` is out of range, or a video or a class is listed twice.
    """

    metric: ClassVar[Metric] = "top1"
    num_classes: ClassVar[int | None] = None

    def __init__(
        self,
        name: str,
        root: Path,
        classes: Sequence[str],
        train: Sequence[VideoRecord],
        test: Sequence[VideoRecord],
        *,
        val: Sequence[VideoRecord] = (),
        val_fraction: float = 0.0,
        seed: int = 0,
    ) -> None:
        ids = set()
        for video in (*train, *test):
            if video.video_id in ids:
                raise UsageError(f"dataset={name}: the annotations list {video.video_id!r} twice")
            ids.add(video.video_id)
        if not all(isinstance(class_name, str) for class_name in classes) or len(set(classes)) < len(classes):
            raise UsageError(f"dataset={name}: the names of the classes are not all texts, or one occurs twice")
        self.name, self.root, self._classes = name, root, tuple(classes)
        kept, held_out = hold_out(train, val_fraction, seed=seed)
        self._videos: Mapping[Subset, Sequence[VideoRecord]] = {"train": kept, "val": [*val, *held_out], "test": test}

    @classmethod
    def official_counts(cls, **_: Any) -> Mapping[Subset, int] | None:
        """Return None: only the user knows these videos."""
        return None

    @property
    def classes(self) -> Sequence[str]:
        """Class names; a label is an index into them."""
        return self._classes

    def prepare(self) -> None:
        """Do nothing: the files are the user's."""

    def records(self, subset: Subset) -> list[VideoRecord]:
        """Return the videos of a subset in the order of the annotations."""
        return list(self._videos[subset])


LIST_ARGUMENTS = ("annotations", "classes", "train_list", "val_list", "test_list")
"""Arguments of the data sets that name files of annotations and lists, or their folder."""

Lists = tuple[list[str], list[VideoRecord], list[VideoRecord]]
"""What official lists contain: class names, training videos and test videos."""


class OfficialSplits(ListedVideos):
    """A data set with three official splits, given by lists, and with a folder of videos for each class.

    Args:
        root, name: of the data set; by default, the name is that of the class in lower case.
        split: official split, 1 to 3.
        annotations: folder of the official lists; None: the first of ``list_folders`` that exists.
        val_fraction, seed: see `ListedVideos`.

    Raises:
        UsageError: a folder or list is missing, a list has an unexpected format, or an argument is out of range.
    """

    content: ClassVar[str]  # of the root, for messages
    lists: ClassVar[str]  # names of the lists, for messages
    video_folders: ClassVar[tuple[str, ...]]  # where the class folders may be below the root
    list_folders: ClassVar[tuple[str, ...]]  # where the lists may be

    def __init__(
        self,
        root: str | None,
        *,
        name: str | None = None,
        split: int = 1,
        annotations: str | None = None,
        val_fraction: float = 0.0,
        seed: int = 0,
    ) -> None:
        folder = root_folder(root, content=self.content)
        check_split(split)
        places = [folder / place for place in self.list_folders]
        lists = annotation_path(annotations, places, content=f"the folder of the official lists ({self.lists})")
        videos = first_existing(*(folder / place for place in self.video_folders))
        classes, train, test = self.read(lists, videos, split)
        check_below_root([*train, *test], folder, annotations=lists)
        name = name or type(self).__name__.lower()
        super().__init__(name, folder, classes, train, test, val_fraction=val_fraction, seed=seed)

    @abstractmethod
    def read(self, lists: Path, videos: Path, split: int) -> Lists:
        """Read the lists of a split; ``videos`` is the folder of the class folders."""


def check_val_fraction(fraction: object) -> None:
    """Raise a `UsageError` if a share of held-out videos is not a number in [0, 1)."""
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction < 1:
        raise UsageError(f"dataset.val_fraction={fraction}: must be at least 0 and less than 1")


def hold_out(
    videos: Sequence[VideoRecord], fraction: float, *, seed: int, by_file: bool = False
) -> tuple[list[VideoRecord], list[VideoRecord]]:
    """Divide training videos into kept and held-out ones; the videos of a group stay together.

    ``fraction`` is the share of the groups that is held out, in [0, 1); above 0 at least one is held out, and at least
    one is kept. With ``by_file``, the videos of a file without a group stay together, and each class keeps a video.
    """
    check_val_fraction(fraction)

    def unit(video: VideoRecord) -> str:
        return video.group or (str(video.path) if by_file else video.video_id)

    units = sorted({unit(video) for video in videos})
    count = min(max(1, round(fraction * len(units))), len(units) - 1) if fraction else 0
    held = {units[i] for i in stateless_rng(seed, "held out").permutation(len(units))[:count]} if count else set()
    if by_file:
        trained = {label for video in videos if unit(video) not in held for label in video.labels}
        held -= {unit(video) for video in videos if unit(video) in held and not {*video.labels} <= trained}
    kept = [video for video in videos if unit(video) not in held]
    return kept, [video for video in videos if unit(video) in held]


@contextmanager
def checking_format(file: Path) -> Iterator[None]:
    """Turn the errors of reading an annotation file with an unexpected format into a `UsageError` of one line."""
    try:
        yield
    except UsageError:
        raise
    except KeyError as error:
        raise UsageError(f"{file}: an entry has no field {error.args[0]!r}; is it the right file?") from error
    except (AttributeError, TypeError, ValueError, ArithmeticError, LookupError, OSError, csv.Error) as error:
        raise UsageError(f"{file}: unexpected format ({error})") from error


def check_below_root(videos: Iterable[VideoRecord], root: Path, *, annotations: Path) -> None:
    """Raise a `UsageError` if the annotations place a video outside of the data set's folder.

    Links below the root were placed by whoever made the data set, and may lead out of it.
    """
    for video in videos:
        path = Path(os.path.normpath(video.path))
        if not path.is_relative_to(root) or not is_inside(str(path.relative_to(root))):
            raise UsageError(f"{annotations}: {video.video_id!r} is outside of dataset.root={root}")


def root_folder(root: str | None, *, content: str) -> Path:
    """Return ``dataset.root`` as an absolute path, or raise a `UsageError` if it is no folder (of this content)."""
    if root is None:
        raise UsageError(f"dataset.root is not set: expected the folder that contains {content}")
    folder = user_path(root).absolute()
    if not folder.is_dir():
        raise UsageError(f"dataset.root={root}: no such folder; expected one that contains {content}")
    return folder


def annotation_path(annotations: str | None, candidates: Sequence[Path], *, content: str) -> Path:
    """Return the file or folder of annotations: the user's, or the first of ``candidates``; it must exist."""
    if annotations is not None:
        path = user_path(annotations).absolute()
        if not path.exists():
            raise UsageError(f"dataset.annotations={annotations}: no such file or folder; expected {content}")
        return path
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        places = ", ".join(map(str, candidates))
        raise UsageError(
            f"no annotations found (looked for {places}): put {content} there, or set dataset.annotations=PATH"
        )
    return found


def check_split(split: object) -> int:
    """Return the number of an official split, or raise a `UsageError` if it is not 1, 2 or 3."""
    if isinstance(split, bool) or not isinstance(split, int) or split not in (1, 2, 3):
        raise UsageError(f"dataset.split={split}: must be 1, 2 or 3, one of the official splits")
    return split


def first_existing(*folders: Path) -> Path:
    """Return the first of these folders that exists; the last one if none does."""
    return next((folder for folder in folders if folder.is_dir()), folders[-1])


def read_lines(file: Path) -> list[str]:
    """Return the lines of a text file without surrounding white space and empty lines; there must be one.

    Bytes that are not UTF-8 are kept, as in file names of the operating system.
    """
    return [line.strip() for line in read_table(file).splitlines() if line.strip()]


def read_table(file: Path) -> str:
    """Return a text file that is not empty, as `read_lines` and readers of CSV take it."""
    try:
        text = read_bounded(file, MAX_ANNOTATION_BYTES).decode("utf-8-sig", "surrogateescape")
    except FileNotFoundError:
        raise UsageError(f"{file}: no such file") from None
    if "\0" in text:
        raise UsageError(f"{file}: not a text file")
    if not text.strip():
        raise UsageError(f"{file}: the list is empty")
    return text


def table_of(file: Path, *, skip_spaces: bool = False) -> "csv.DictReader[str]":
    """Return a CSV file of annotations, whose missing cells are None; it has at most `_MAX_COLUMNS` columns."""
    table = csv.DictReader(io.StringIO(read_table(file), newline=""), skipinitialspace=skip_spaces)
    if (count := len(table.fieldnames or ())) > _MAX_COLUMNS:  # short lines would be filled up
        raise UsageError(f"{file}: expected at most {_MAX_COLUMNS} columns, got {count}")
    return table


def split_label(line: str, file: Path) -> tuple[str, str]:
    """Split a line into a name, which may contain spaces, and the label after it.

    >>> split_label("Amazing Soccer #2.avi 1", Path("list.txt"))
    ('Amazing Soccer #2.avi', '1')
    """
    name, *label = line.rsplit(maxsplit=1)
    if not label:
        raise UsageError(f"{file}: {line!r} has no label after the name")
    return name, label[0]


def video_stem(name: str) -> str:
    """Return a file name without the extension of a video; other dots belong to the name.

    >>> video_stem("v_a.b_g01.avi"), video_stem("Dr._No")
    ('v_a.b_g01', 'Dr._No')
    """
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in VIDEO_EXTENSIONS else name


def video_files(*folders: Path) -> dict[str, Path]:
    """Return the videos directly in these folders: name without extension -> path.

    Any container counts, and a folder counts as the frames of a video if no file has its name. Earlier folders win, and
    within a folder .avi before .mp4.
    """
    files: dict[str, Path] = {}
    frames: dict[str, Path] = {}
    for folder in filter(Path.is_dir, folders):
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
        for entry in sorted(visible, key=lambda entry: entry.name):
            if entry.is_dir():
                frames.setdefault(entry.name, folder / entry.name)
            elif (stem := video_stem(entry.name)) != entry.name:
                files.setdefault(stem, folder / entry.name)
    return frames | files


def read_json(file: Path, *keys: str) -> dict[str, Any]:
    """Return the mapping in a JSON file, which must have ``keys``."""
    try:
        content = parse_json(read_bounded(file, MAX_ANNOTATION_BYTES))
    except UnreadableFileError:
        raise
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read as JSON ({error})") from None
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing or not isinstance(content, dict):
        raise UsageError(f"{file}: unexpected format; missing keys: {', '.join(missing)}")
    return content


def union(segments: Iterable[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    """Return the time that ``[start, end)`` segments cover, in seconds: disjoint, increasing, from 0 on.

    Annotations overlap, for example where a dive is also a cliff dive. A segment that ends before it starts is empty.
    What lies beyond the end of the video is cut off when the video's length is known.

    >>> union([(4, 6), (1.0, 2.0), (5, 8), (4, 6), (3, 3), (-1, 0.5)])
    ((0.0, 0.5), (1.0, 2.0), (4.0, 8.0))

    Raises:
        ValueError: a time is not finite, or longer than a year.
    """
    covered: list[tuple[float, float]] = []
    for start, end in sorted((max(0.0, seconds_of(start)), seconds_of(end)) for start, end in segments):
        if start >= end:
            continue
        if covered and start <= covered[-1][1]:
            covered[-1] = (covered[-1][0], max(end, covered[-1][1]))
        else:
            covered.append((start, end))
    return tuple(covered)


def seconds_of(value: float | str) -> float:
    """Return a time in seconds; ValueError if it is not finite, or longer than a year."""
    seconds = float(value)
    if not abs(seconds) < _YEAR:
        raise ValueError(f"{value!r} is no time in a video, in seconds")
    return seconds
