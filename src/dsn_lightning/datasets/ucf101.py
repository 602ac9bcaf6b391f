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
    ListedVideos,
    annotation_path,
    check_split,
    first_existing,
    read_lines,
    root_folder,
    split_label,
    video_files,
    video_stem,
)
from dsn_lightning.datasets.records import Subset, VideoRecord
from dsn_lightning.errors import UsageError

_GROUP = re.compile(r"_g(\d+)_c\d+$")
_COUNTS: dict[int, Mapping[Subset, int]] = {
    1: {"train": 9537, "test": 3783},
    2: {"train": 9586, "test": 3734},
    3: {"train": 9624, "test": 3696},
}


class Ucf101(ListedVideos):
    """UCF101 as a `VideoSource`.

    A video's id is its path below the folder of the videos, without the extension. Its group is one of the 25 of its
    class (``Archery/g08``), which the official splits keep together.

    Args:
        root: folder with the videos in ``UCF-101/<Class>/``, ``videos/<Class>/`` or ``<Class>/``, in any container.
        split: official split, 1 to 3.
        annotations: folder of ``classInd.txt``, ``trainlist0k.txt`` and ``testlist0k.txt``; None looks for
            ``root/ucfTrainTestlist``.
        name, val_fraction, seed: see `ListedVideos`.

    Raises:
        UsageError: a folder or list is missing, a list contradicts the class list, or an argument is out of range.
    """

    num_classes: ClassVar[int | None] = 101

    def __init__(
        self,
        root: str | None,
        *,
        name: str = "ucf101",
        split: int = 1,
        annotations: str | None = None,
        val_fraction: float = 0.0,
        seed: int = 0,
    ) -> None:
        folder = root_folder(root, content="UCF-101/<Class>/*.avi and ucfTrainTestlist/")
        check_split(split)
        lists = annotation_path(
            annotations, [folder / "ucfTrainTestlist"], content="the folder of the official lists (ucfTrainTestlist)"
        )
        classes = read_classes(lists / "classInd.txt")
        if len(classes) != self.num_classes:
            raise UsageError(f"{lists / 'classInd.txt'}: expected {self.num_classes} classes, got {len(classes)}")
        self._videos_folder = first_existing(folder / "UCF-101", folder / "videos", folder)
        self._labels = {class_name.lower(): label for label, class_name in enumerate(classes)}
        self._folders = {path.name.lower(): path for path in self._videos_folder.iterdir() if path.is_dir()}
        self._files: dict[str, dict[str, Path]] = {}  # class -> name in lower case -> file
        train, test = (self._read(lists / f"{side}list0{split}.txt") for side in ("train", "test"))
        super().__init__(name, folder, classes, train, test, val_fraction=val_fraction, seed=seed)

    @classmethod
    def official_counts(cls, *, split: int = 1, **_: Any) -> Mapping[Subset, int] | None:
        """Return the number of videos in the official lists of a split."""
        return _COUNTS[check_split(split)]

    def _read(self, file: Path) -> list[VideoRecord]:
        """Return the videos of a list; the lines of test lists have no label."""
        videos = []
        for line in read_lines(file):
            entry, number = split_label(line, file) if video_stem(line) == line else (line, None)
            class_name, _, video = entry.rpartition("/")
            label = self._labels.get(class_name.lower())
            if label is None or (number is not None and number != str(label + 1)):
                raise UsageError(f"{file}: {line!r} contradicts classInd.txt; use the official lists")
            stem = video_stem(video)
            group = f"{class_name}/g{match[1]}" if (match := _GROUP.search(stem)) else None
            path = self._file(class_name, video)
            videos.append(VideoRecord(f"{class_name}/{stem}", path, (label,), group=group))
        return videos

    def _file(self, class_name: str, video: str) -> Path:
        """Return the file of a listed video, or the path that it should have."""
        folder = self._folders.get(class_name.lower(), self._videos_folder / class_name)
        if class_name not in self._files:
            self._files[class_name] = {stem.lower(): path for stem, path in video_files(folder).items()}
        return self._files[class_name].get(video_stem(video).lower(), folder / video)


def read_classes(file: Path) -> list[str]:
    """Return the class names of a list with the lines ``<number> <name>``, numbered from 1 without gaps.

    Raises:
        UsageError: the file is missing or numbered differently.
    """
    entries = [line.split() for line in read_lines(file)]
    if any(len(entry) != 2 or entry[0] != str(i) for i, entry in enumerate(entries, start=1)):
        raise UsageError(f"{file}: expected lines like '1 ApplyEyeMakeup', numbered from 1 without gaps")
    return [class_name for _, class_name in entries]
