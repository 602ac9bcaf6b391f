"""UCF101 with its official splits: 13,320 trimmed videos of 101 classes, 25 groups per class.

Labels and subsets come from ``ucfTrainTestlist``, never from the order of folders. The official files spell one name in
two ways: the class is HandstandPushups, its videos are v_HandStandPushups_*. Folders and files are therefore looked up
without regard to case.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from dsn_lightning.datasets.annotations import (
    Lists,
    OfficialSplits,
    check_split,
    read_lines,
    split_label,
    video_files,
    video_stem,
)
from dsn_lightning.datasets.records import Subset, VideoRecord
from dsn_lightning.errors import UsageError

_GROUP = re.compile(r"_g(\d+)_c\d+$")
_COUNTS = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}  # of the splits: training and test videos


class Ucf101(OfficialSplits):
    """UCF101 as a `VideoSource`.

    A video's id is its path below the folder of the videos, without the extension. Its group is one of the 25 of its
    class (``Archery/g08``), which the official splits keep together.

    Args:
        root: folder with the videos in ``UCF-101/<Class>/``, ``videos/<Class>/`` or ``<Class>/``, in any container.
        annotations: folder of ``classInd.txt``, ``trainlist0k.txt`` and ``testlist0k.txt``; None looks for
            ``root/ucfTrainTestlist``.
        name, split, val_fraction, seed: see `OfficialSplits`, also for the errors.
    """

    num_classes: ClassVar[int | None] = 101
    content = "UCF-101/<Class>/*.avi and ucfTrainTestlist/"
    video_folders = ("UCF-101", "videos", "")
    list_folders = ("ucfTrainTestlist",)
    lists = "ucfTrainTestlist"

    @classmethod
    def official_counts(cls, *, split: int = 1, **_: Any) -> Mapping[Subset, int] | None:
        """Return the number of videos in the official lists of a split."""
        train, test = _COUNTS[check_split(split)]
        return {"train": train, "test": test}

    def read(self, lists: Path, videos: Path, split: int) -> Lists:
        """Read the class list and the two lists of the split; the lines of test lists have no label."""
        classes = read_classes(lists / "classInd.txt")
        if len(classes) != self.num_classes:
            raise UsageError(f"{lists / 'classInd.txt'}: expected {self.num_classes} classes, got {len(classes)}")
        labels = {class_name.lower(): label for label, class_name in enumerate(classes)}
        folders = {path.name.lower(): path for path in videos.iterdir() if path.is_dir()}
        files = {
            (name, stem.lower()): path
            for name in labels.keys() & folders.keys()
            for stem, path in video_files(folders[name]).items()
        }

        def record(line: str, file: Path) -> VideoRecord:
            entry, number = split_label(line, file) if video_stem(line) == line else (line, None)
            class_name, _, video = entry.rpartition("/")
            key, stem = class_name.lower(), video_stem(video)
            label = labels.get(key)
            if label is None or (number is not None and number != str(label + 1)):
                raise UsageError(f"{file}: {line!r} contradicts classInd.txt; use the official lists")
            group = f"{class_name}/g{match[1]}" if (match := _GROUP.search(stem)) else None
            path = files.get((key, stem.lower()), folders.get(key, videos / class_name) / video)
            return VideoRecord(f"{class_name}/{stem}", path, (label,), group=group)

        subsets = [lists / f"{side}list0{split}.txt" for side in ("train", "test")]
        train, test = ([record(line, file) for line in read_lines(file)] for file in subsets)
        return classes, train, test


def read_classes(file: Path) -> list[str]:
    """Return the class names of a list with the lines ``<number> <name>``, numbered from 1 without gaps."""
    entries = [line.split() for line in read_lines(file)]
    if any(len(entry) != 2 or entry[0] != str(i) for i, entry in enumerate(entries, start=1)):
        raise UsageError(f"{file}: expected lines like '1 ApplyEyeMakeup', numbered from 1 without gaps")
    return [class_name for _, class_name in entries]
