"""THUMOS14 as a recognition task: untrimmed videos that may have several labels, measured by mAP.

Three kinds of annotations are read:

* The challenge's own MATLAB files, 101 classes: ``validation_set.mat`` (1,010 videos) and ``test_set_final.mat`` of the
  evaluation kit or ``test_set_meta.mat`` (1,574 videos). Each entry has ``video_name``, ``primary_action``,
  ``primary_action_index``, ``secondary_actions_indices`` (numbered from 1) and ``background_video``. The challenge's
  mAP (``TH14evalRecog.m``) gives a background video no label, so that it counts as a negative of every class.
* ``thumos14.json`` (ActionFormer's form), the 20 classes of the detection task with segments.
* ``val_Annotation.csv`` and ``test_Annotation.csv`` (G-TAD's form), the same 20 classes.

Of the detection task's 213 test videos the JSON file holds 212 and so do we from either file: all segments of
``video_test_0001292`` are marked Ambiguous, which is no class. The segments of ``video_test_0000270`` lie beyond its
end; its label is used all the same.
"""

import csv
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsn_lightning.datasets.annotations import (
    ListedVideos,
    annotation_path,
    expected_form,
    first_folder,
    read_json,
    refuse_outside,
    root_folder,
    stem_of,
    union,
    video_files,
)
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.datasets.ucf101 import Ucf101, read_classes
from dsn_lightning.errors import UsageError

_VALIDATION_MATS = ("validation_set.mat", "*/validation_set.mat")
_TEST_MATS = ("test_set_final.mat", "*/test_set_final.mat", "test_set_meta.mat", "*/test_set_meta.mat")
_CSV_FILES = {"validation": "val_Annotation.csv", "test": "test_Annotation.csv"}
_CLASS_LIST = "Class Index.txt"
_NO_CLASS = "Ambiguous"
_HOLDS = "validation_set.mat and test_set_final.mat, or thumos14.json, or val_Annotation.csv and test_Annotation.csv"
_TRAIN_ON = ("validation", "training+validation")


@dataclass(frozen=True)
class Entry:
    """A video in the annotations.

    Attributes:
        labels: names of its classes; none for a background video.
        spans: where they show, in seconds; None where this is not known.
    """

    labels: frozenset[str]
    spans: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True)
class Annotations:
    """What a kind of annotation file says.

    Attributes:
        classes: names in the order of the labels.
        validation: video -> entry.
        test: video -> entry.
    """

    classes: tuple[str, ...]
    validation: Mapping[str, Entry]
    test: Mapping[str, Entry]


class Thumos14(ListedVideos):
    """THUMOS14 as the data module sees it: trained on the validation videos, tested on the test videos.

    Args:
        root: folder with the videos in ``videos/``, in a folder of it (``videos/val/``), directly or in a folder below
            (``validation/``): ``video_validation_0000001.*`` and ``video_test_0000001.*``, in any container.
        name: of the data set in results.
        annotations: a folder of the files that the module's text names, or one of them; None looks in ``root`` and
            ``root/annotations``, for the MATLAB files first.
        train_on: ``validation``, or ``training+validation`` to add the challenge's training set, which is all of
            UCF101 (with annotations of 20 classes: its videos of these).
        ucf101_root: folder of UCF101, see `Ucf101`.
        background: test on the background videos that the MATLAB files list, as the challenge's mAP does; the other
            files list none. Nothing is trained on them.
        val_fraction: share of the training videos that is held out for following the training, in [0, 1).
        seed: decides which ones.

    Raises:
        UsageError: a folder or file is missing, a file has another form, or an argument means nothing.
    """

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
        folder = root_folder(root, holds=f"the videos and {_HOLDS}")
        if train_on not in _TRAIN_ON:
            raise UsageError(f"dataset.train_on={train_on}: must be one of {', '.join(_TRAIN_ON)}")
        if train_on != "validation" and ucf101_root is None:
            raise UsageError(f"dataset.train_on={train_on}: the training set is UCF101; give dataset.ucf101_root")
        if not isinstance(background, bool):
            raise UsageError(f"dataset.background={background}: must be true or false")
        known = _read(annotations, folder)
        labels = {class_name: label for label, class_name in enumerate(known.classes)}
        base = first_folder(folder / "videos", folder)
        below = [place for place in sorted(base.iterdir()) if place.is_dir() and not place.name.startswith("video_")]
        files = video_files(base, *below)

        def records(entries: Mapping[str, Entry]) -> list[VideoRecord]:
            return [
                VideoRecord(
                    video_id=video,
                    path=files.get(video, base / f"{video}.mp4"),
                    labels=tuple(sorted(labels[name] for name in entry.labels)),
                    spans=entry.spans,
                )
                for video, entry in entries.items()
            ]

        train = records({video: entry for video, entry in known.validation.items() if entry.labels})
        test = records({video: entry for video, entry in known.test.items() if entry.labels or background})
        refuse_outside([*train, *test], folder, where=annotation_path(annotations, [folder], holds=_HOLDS))
        if ucf101_root is not None and train_on != "validation":
            trimmed = Ucf101(ucf101_root)
            train = _relabelled(trimmed, labels) + train
            folder = Path(os.path.commonpath([folder, trimmed.root]))
        super().__init__(name, folder, known.classes, train, test, val_fraction=val_fraction, seed=seed)


def _relabelled(trimmed: Ucf101, labels: Mapping[str, int]) -> list[VideoRecord]:
    """Return all videos of UCF101 that have one of the classes ``labels``, with those labels."""
    by_name = {class_name.lower(): label for class_name, label in labels.items()}
    own = [by_name.get(class_name.lower()) for class_name in trimmed.classes]
    videos = [*trimmed.records("train"), *trimmed.records("test")]
    return [replace(v, labels=(label,)) for v in videos if (label := own[v.labels[0]]) is not None]


def _read(given: str | None, root: Path) -> Annotations:
    place = annotation_path(given, [root], holds=_HOLDS)
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
    raise UsageError(f"no annotations found in {place}: dataset.annotations should name a folder with {_HOLDS}")


def _from_matlab(folder: Path) -> Annotations:
    names: dict[int, str] = {}
    if (folder / _CLASS_LIST).is_file():
        names = dict(enumerate(read_classes(folder / _CLASS_LIST), start=1))
    sides = {}
    for subset, patterns in (("validation", _VALIDATION_MATS), ("test", _TEST_MATS)):
        file = next((file for pattern in patterns for file in sorted(folder.glob(pattern))), None)
        if file is None:
            raise UsageError(f"{folder}: holds no {patterns[0]} of THUMOS14")
        sides[subset] = (file, _struct_array(file, f"{subset}_videos"))
        for entry in sides[subset][1]:
            if entry["background_video"] != "NO":
                continue
            class_name = str(entry["primary_action"])
            for index in _numbers(entry["primary_action_index"]):
                if names.setdefault(index, class_name).lower() != class_name.lower():
                    raise UsageError(f"{file}: class {index} is {class_name} here and {names[index]} elsewhere")
    missing = sorted(set(range(1, max(names) + 1)) - set(names))
    if missing:
        raise UsageError(f"{folder}: no name is known for class {missing[0]}; put the official '{_CLASS_LIST}' there")

    def entries(file: Path, videos: list[dict[str, Any]]) -> dict[str, Entry]:
        found = {}
        for video in videos:
            indices: set[int] = set()
            if video["background_video"] == "NO":
                indices = _numbers(video["primary_action_index"]) | _numbers(video["secondary_actions_indices"])
                if not indices:
                    raise UsageError(f"{file}: {video['video_name']} has no class and is no background video")
            if not indices <= set(names):
                raise UsageError(f"{file}: {video['video_name']} has class {max(indices)} of {len(names)}")
            found[stem_of(str(video["video_name"]))] = Entry(frozenset(names[index] for index in indices))
        return found

    classes = tuple(names[index] for index in sorted(names))
    return Annotations(classes, entries(*sides["validation"]), entries(*sides["test"]))


def _struct_array(file: Path, variable: str) -> list[dict[str, Any]]:
    """Return the entries of a MATLAB file's array of structures."""
    from scipy.io import loadmat  # takes longer to import than all else here

    try:
        content = loadmat(file, simplify_cells=True)
    except Exception as error:  # garbage makes the reader raise anything
        raise UsageError(f"{file}: cannot be read as a MATLAB file ({error})") from error
    videos = content.get(variable)
    videos = [videos] if isinstance(videos, dict) else list([] if videos is None else videos)
    fields = ("video_name", "primary_action", "primary_action_index", "secondary_actions_indices", "background_video")
    if not videos or not all(isinstance(video, dict) for video in videos):
        raise UsageError(f"{file}: holds no {variable}")
    lacking = [field for field in fields if field not in videos[0]]
    if lacking:
        raise UsageError(f"{file}: has no {', '.join(lacking)}; the test set's labels are in test_set_final.mat")
    return videos


def _numbers(value: Any) -> set[int]:
    """Return the numbers of a MATLAB value: one, several or none.

    >>> sorted(_numbers(7)), _numbers([])
    ([7], set())
    """
    import numpy as np

    return {int(number) for number in np.atleast_1d(np.asarray(value)).ravel() if str(number).strip()}


def _from_json(file: Path) -> Annotations:
    with expected_form(file):
        rows = [
            (entry["subset"].lower(), video, own["label"], own["segment"])
            for video, entry in read_json(file, "database")["database"].items()
            for own in entry["annotations"]
        ]
        return _from_segments(file, rows)


def _from_csv(folder: Path) -> Annotations:
    rows = []
    for subset, name in _CSV_FILES.items():
        file = folder / name
        if not file.is_file():
            raise UsageError(f"{file}: no such file; both {' and '.join(_CSV_FILES.values())} are needed")
        with file.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines)
            lacking = {"video", "type", "start", "end"} - set(table.fieldnames or ())
            if lacking:
                raise UsageError(f"{file}: has no column {', '.join(sorted(lacking))}")
            rows += [(subset, row["video"], row["type"], (row["start"], row["end"])) for row in table]
    with expected_form(folder):
        return _from_segments(folder, rows)


def _from_segments(where: Path, rows: list[tuple[str, str, str, Any]]) -> Annotations:
    """Gather rows of subset, video, class and segment; a video that shows no class is left out."""
    segments: dict[str, dict[str, list[tuple[str, Any]]]] = {"validation": {}, "test": {}}
    for subset, video, class_name, segment in rows:
        if subset not in segments:
            raise UsageError(f"{where}: {video} is of subset {subset!r}; there are {' and '.join(segments)}")
        if class_name != _NO_CLASS:
            segments[subset].setdefault(video, []).append((class_name, segment))
    if not all(segments.values()):
        raise UsageError(f"{where}: has no annotations of the {next(s for s, v in segments.items() if not v)} videos")
    sides = {
        subset: {video: Entry(frozenset(n for n, _ in own), union(s for _, s in own)) for video, own in videos.items()}
        for subset, videos in segments.items()
    }
    classes = sorted(
        {class_name for videos in sides.values() for entry in videos.values() for class_name in entry.labels}
    )
    return Annotations(tuple(classes), sides["validation"], sides["test"])
