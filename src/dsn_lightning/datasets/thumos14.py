"""THUMOS14 as a recognition task: untrimmed videos that may have several labels, measured by mAP.

Three kinds of annotations are read:

* The challenge's MATLAB files, 101 classes: ``validation_set.mat`` (1,010 videos), and ``test_set_final.mat`` of the
  evaluation kit or ``test_set_meta.mat`` (1,574 videos). The challenge's mAP (``TH14evalRecog.m``) gives a background
  video no label, so that it counts as a negative of every class.
* ``thumos14.json`` (as in ActionFormer), the 20 classes of the detection task with segments.
* ``val_Annotation.csv`` and ``test_Annotation.csv`` (as in G-TAD), the same 20 classes.

Of the detection task's 213 test videos both give 212: all segments of ``video_test_0001292`` are marked Ambiguous,
which is not a class. The segments of ``video_test_0000270`` lie beyond its end; its label is used all the same.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from dsn_lightning.datasets import matlab_process
from dsn_lightning.datasets.annotations import (
    MAX_ANNOTATION_BYTES,
    ListedVideos,
    annotation_path,
    check_below_root,
    checking_format,
    first_existing,
    read_json,
    root_folder,
    table_of,
    union,
    video_files,
    video_stem,
)
from dsn_lightning.datasets.records import Metric, Subset, VideoRecord
from dsn_lightning.datasets.ucf101 import Ucf101, read_classes
from dsn_lightning.errors import UsageError
from dsn_lightning.files import open_bounded, parse_json

_VALIDATION_MATS = ("validation_set.mat", "*/validation_set.mat")
_TEST_MATS = ("test_set_final.mat", "*/test_set_final.mat", "test_set_meta.mat", "*/test_set_meta.mat")
_CSV_FILES = {"validation": "val_Annotation.csv", "test": "test_Annotation.csv"}
_CLASS_LIST = "Class Index.txt"
_NO_CLASS = "Ambiguous"
_MAX_CLASSES = 10_000
_CONTENT = "validation_set.mat and test_set_final.mat, or thumos14.json, or val_Annotation.csv and test_Annotation.csv"
_NUM_TRAIN = {"validation": 1010, "training+validation": 14330}


class AnnotatedVideo(NamedTuple):
    """The names of a video's classes (none: a background video) and where they show, in seconds (None: unknown)."""

    classes: frozenset[str]
    spans: tuple[tuple[float, float], ...] | None = None


class _Structure(NamedTuple):
    """A video in a MATLAB file."""

    video_name: str
    primary_action: str
    primary_action_index: set[int]
    secondary_actions_indices: set[int]
    background_video: str


class Annotations(NamedTuple):
    """The class names in the order of the labels, and the annotated videos of both subsets by id."""

    classes: tuple[str, ...]
    validation: Mapping[str, AnnotatedVideo]
    test: Mapping[str, AnnotatedVideo]


class Thumos14(ListedVideos):
    """THUMOS14 as a `VideoSource`: trained on the validation videos, tested on the test videos.

    Args:
        root: folder with the videos in ``videos/`` or a folder in it (``videos/val/``), or directly or one folder below
            (``validation/``): ``video_validation_0000001.*`` and ``video_test_0000001.*``, in any container.
        annotations: a folder of the files that the module's text names, or one of them; None looks in ``root`` and
            ``root/annotations``, for the MATLAB files first.
        train_on: ``validation``, or ``training+validation`` to add the challenge's training set, which is all of
            UCF101 (with annotations of 20 classes: its videos of these classes).
        ucf101_root: folder of UCF101, see `Ucf101`.
        background: test on the background videos that the MATLAB files list, as the challenge's mAP does; the other
            files list none. They are never trained on.
        name, val_fraction, seed: see `ListedVideos`.

    Raises:
        UsageError: a folder or file is missing, a file has an unexpected format, or an argument is out of range.
    """

    metric: ClassVar[Metric] = "map"
    num_classes: ClassVar[int | None] = 101  # of the challenge; the detection task's annotations have 20 of them

    def __init__(
        self,
        root: str | None,
        *,
        name: str = "thumos14",
        annotations: str | None = None,
        train_on: str = "validation",
        ucf101_root: str | None = None,
        background: bool = True,
        val_fraction: float = 0.0,
        seed: int = 0,
    ) -> None:
        folder = root_folder(root, content=f"the videos and {_CONTENT}")
        _check_train_on(train_on)
        if train_on != "validation" and ucf101_root is None:
            raise UsageError(f"dataset.train_on={train_on}: the training set is UCF101; set dataset.ucf101_root")
        if not isinstance(background, bool):
            raise UsageError(f"dataset.background={background}: must be true or false")
        known = _read(annotations, folder)
        labels = {class_name: label for label, class_name in enumerate(known.classes)}
        base = first_existing(folder / "videos", folder)
        folders = [path for path in sorted(base.iterdir()) if path.is_dir() and not path.name.startswith("video_")]
        files = video_files(base, *folders)

        def record(video_id: str, video: AnnotatedVideo) -> VideoRecord:
            path = files.get(video_id, base / f"{video_id}.mp4")
            return VideoRecord(video_id, path, tuple(sorted(map(labels.__getitem__, video.classes))), spans=video.spans)

        train = [record(video_id, video) for video_id, video in known.validation.items() if video.classes]
        test = [record(video_id, video) for video_id, video in known.test.items() if video.classes or background]
        check_below_root([*train, *test], folder, annotations=annotation_path(annotations, [folder], content=_CONTENT))
        if ucf101_root is not None and train_on != "validation":
            trimmed = Ucf101(ucf101_root)
            train = _relabelled(trimmed, labels) + train
            folder = Path(os.path.commonpath([folder, trimmed.root]))
        super().__init__(name, folder, known.classes, train, test, val_fraction=val_fraction, seed=seed)

    @classmethod
    def official_counts(cls, *, train_on: str = "validation", **_: Any) -> Mapping[Subset, int] | None:
        """Return the number of videos in the challenge's sets that ``train_on`` names, and in its test set."""
        _check_train_on(train_on)
        return {"train": _NUM_TRAIN[train_on], "test": 1574}


def _check_train_on(train_on: str) -> None:
    if train_on not in _NUM_TRAIN:
        raise UsageError(f"dataset.train_on={train_on}: must be one of {', '.join(_NUM_TRAIN)}")


def _relabelled(trimmed: Ucf101, labels: Mapping[str, int]) -> list[VideoRecord]:
    """Return the videos of UCF101 that have one of the classes ``labels``, with those labels."""
    by_name = {class_name.lower(): label for class_name, label in labels.items()}
    new_labels = [by_name.get(class_name.lower()) for class_name in trimmed.classes]
    videos = [*trimmed.records("train"), *trimmed.records("test")]
    return [replace(v, labels=(label,)) for v in videos if (label := new_labels[v.labels[0]]) is not None]


def _read(annotations: str | None, root: Path) -> Annotations:
    """Read the annotations that the user names, or the first kind that is found below ``root``."""
    place = annotation_path(annotations, [root], content=_CONTENT)
    if place.suffix == ".json":
        return _from_json(place)
    folders = [place.parent] if place.is_file() else [place, place / "annotations"]
    readers: list[tuple[tuple[str, ...], Callable[[Path], Annotations]]] = [
        (_VALIDATION_MATS, _from_matlab),
        (("thumos14.json",), lambda folder: _from_json(folder / "thumos14.json")),
        ((_CSV_FILES["validation"],), _from_csv),
    ]
    if place.suffix == ".csv":
        readers = readers[-1:]
    for patterns, read in readers:
        for folder in folders:
            if any(file for pattern in patterns for file in folder.glob(pattern)):
                return read(folder)
    raise UsageError(f"no annotations found in {place}: set dataset.annotations to a folder with {_CONTENT}")


def _from_matlab(folder: Path) -> Annotations:
    listed = read_classes(folder / _CLASS_LIST) if (folder / _CLASS_LIST).is_file() else []
    names = dict(enumerate(listed, start=1))
    subsets = {}
    for subset, patterns in (("validation", _VALIDATION_MATS), ("test", _TEST_MATS)):
        file = next((file for pattern in patterns for file in sorted(folder.glob(pattern))), None)
        if file is None:
            raise UsageError(f"{folder}: no file {patterns[0]} of THUMOS14")
        subsets[subset] = (file, _structures(file, f"{subset}_videos"))
        for entry in subsets[subset][1]:
            if entry.background_video != "NO":
                continue
            class_name = entry.primary_action
            for index in entry.primary_action_index:
                if names.setdefault(index, class_name).lower() != class_name.lower():
                    raise UsageError(f"{file}: class {index} is {class_name} here and {names[index]} elsewhere")
    if missing := sorted(set(range(1, max(names, default=1) + 1)) - set(names)):
        raise UsageError(f"{folder}: class {missing[0]} has no name; put the official '{_CLASS_LIST}' there")
    classes = tuple(names[index] for index in sorted(names))
    return Annotations(classes, _videos(*subsets["validation"], names), _videos(*subsets["test"], names))


def _videos(file: Path, entries: list[_Structure], names: Mapping[int, str]) -> dict[str, AnnotatedVideo]:
    """Return the videos of a MATLAB file by id."""
    found = {}
    for entry in entries:
        indices: set[int] = set()
        if entry.background_video == "NO":
            indices = entry.primary_action_index | entry.secondary_actions_indices
            if not indices:
                raise UsageError(f"{file}: {entry.video_name} has no class and is not a background video")
        if not indices <= set(names):
            raise UsageError(f"{file}: {entry.video_name} has class {max(indices)}, but there are {len(names)}")
        found[video_stem(entry.video_name)] = AnnotatedVideo(frozenset(names[index] for index in indices))
    return found


def _structures(file: Path, variable: str) -> list[_Structure]:
    """Return the entries of an array of structures in a MATLAB file; another process reads it (`matlab_process`)."""
    with open_bounded(file, MAX_ANNOTATION_BYTES):
        pass  # a pipe or a device is refused, and so is a file of terabytes
    command = [sys.executable, "-P", matlab_process.__file__, str(file), variable, *_Structure._fields]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread takes memory
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=2 * matlab_process.SECONDS)
        content = parse_json(done.stdout) if done.returncode == 0 else "the reader crashed, as on damaged files"
    except subprocess.TimeoutExpired:
        content = f"the reader took longer than {2 * matlab_process.SECONDS} s"
    except ValueError as error:
        content = str(error)
    if not isinstance(content, list):
        remedy = "; the test set's labels are in test_set_final.mat" if "missing fields" in str(content) else ""
        raise UsageError(f"{file}: cannot be read as a MATLAB file ({content}){remedy}")
    return [
        _Structure(
            video_name=_text(entry["video_name"]),
            primary_action=_text(entry["primary_action"]),
            primary_action_index=_numbers(file, entry["primary_action_index"]),
            secondary_actions_indices=_numbers(file, entry["secondary_actions_indices"]),
            background_video=_text(entry["background_video"]),
        )
        for entry in content
    ]


def _text(values: list[Any]) -> str:
    return str(values[0]) if values else ""


def _numbers(file: Path, values: list[Any]) -> set[int]:
    """Return the indices of classes in a field."""
    try:
        numbers = {int(value) for value in values}
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{file}: unexpected format ({error})") from error
    if wrong := [number for number in numbers if not 1 <= number <= _MAX_CLASSES]:
        raise UsageError(f"{file}: unexpected format (the index {wrong[0]} of a class)")
    return numbers


def _from_json(file: Path) -> Annotations:
    with checking_format(file):
        rows = [
            (entry["subset"].lower(), video, annotation["label"], annotation["segment"])
            for video, entry in read_json(file, "database")["database"].items()
            for annotation in entry["annotations"]
        ]
        return _from_segments(file, rows)


def _from_csv(folder: Path) -> Annotations:
    rows = []
    for subset, name in _CSV_FILES.items():
        file = folder / name
        if not file.is_file():
            raise UsageError(f"{file}: no such file; both {' and '.join(_CSV_FILES.values())} are needed")
        with checking_format(file):
            table = table_of(file)
            if missing := sorted({"video", "type", "start", "end"} - set(table.fieldnames or ())):
                raise UsageError(f"{file}: missing columns: {', '.join(missing)}")
            rows += [(subset, row["video"], row["type"], (row["start"], row["end"])) for row in table]
    with checking_format(folder):
        return _from_segments(folder, rows)


def _from_segments(place: Path, rows: list[tuple[str, str, str, Any]]) -> Annotations:
    """Gather rows of subset, video, class and segment; a video without a class is left out."""
    segments: dict[str, dict[str, list[tuple[str, Any]]]] = {"validation": {}, "test": {}}
    for subset, video, class_name, segment in rows:
        if subset not in segments:
            raise UsageError(f"{place}: {video}: expected subset {' or '.join(segments)}, got {subset!r}")
        if class_name != _NO_CLASS:
            segments[subset].setdefault(video, []).append((class_name, segment))
    if empty := [subset for subset, videos in segments.items() if not videos]:
        raise UsageError(f"{place}: no annotations of {empty[0]} videos")
    annotated = {
        subset: {
            video: AnnotatedVideo(frozenset(name for name, _ in pairs), union(segment for _, segment in pairs))
            for video, pairs in videos.items()
        }
        for subset, videos in segments.items()
    }
    names = {name for videos in annotated.values() for video in videos.values() for name in video.classes}
    return Annotations(tuple(sorted(names)), annotated["validation"], annotated["test"])
