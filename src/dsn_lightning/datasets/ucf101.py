"""UCF101 with its official splits: 13,320 trimmed videos of 101 classes, 25 groups a class.

Labels and subsets come from ``ucfTrainTestlist``, never from the order of folders. The official files do not agree on
one name: the class is HandstandPushups, its videos are v_HandStandPushups_*; folders and files are therefore looked up
without regard to case.
"""

import re
from pathlib import Path

from dsn_lightning.datasets.annotations import (
    ListedVideos,
    annotation_path,
    choose_split,
    first_folder,
    read_lines,
    root_folder,
    split_last,
    stem_of,
    video_files,
)
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import UsageError

_NUM_CLASSES = 101
_GROUP = re.compile(r"_g(\d+)_c\d+$")


class Ucf101(ListedVideos):
    """UCF101 as the data module sees it.

    A video's id is its place below the folder of the videos, without the file's ending; its group is one of the 25 of
    its class (``Archery/g08``), which the official splits keep on one side.

    Args:
        root: folder with the videos in ``UCF-101/<Class>/``, ``videos/<Class>/`` or ``<Class>/``, in any container.
        name: of the data set in results.
        split: official split, 1 to 3.
        annotations: folder of ``classInd.txt``, ``trainlist0k.txt`` and ``testlist0k.txt``; None looks for
            ``root/ucfTrainTestlist``.
        val_fraction: share of the groups that is held out of training for following it, in [0, 1).
        seed: decides which ones.

    Raises:
        UsageError: a folder or list is missing, a list contradicts the class list, or an argument is out of range.
    """

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
        folder = root_folder(root, holds="UCF-101/<Class>/*.avi and ucfTrainTestlist/")
        split = choose_split(split)
        lists = annotation_path(
            annotations, [folder / "ucfTrainTestlist"], holds="the folder of the official lists (ucfTrainTestlist)"
        )
        classes = read_classes(lists / "classInd.txt")
        if len(classes) != _NUM_CLASSES:
            raise UsageError(f"{lists / 'classInd.txt'}: names {len(classes)} classes, the official one 101")
        self._videos_folder = first_folder(folder / "UCF-101", folder / "videos", folder)
        self._labels = {class_name.lower(): label for label, class_name in enumerate(classes)}
        self._folders = {path.name.lower(): path for path in self._videos_folder.iterdir() if path.is_dir()}
        self._files: dict[str, dict[str, Path]] = {}  # class -> name in lower case -> file
        train, test = (self._read(lists / f"{side}list0{split}.txt") for side in ("train", "test"))
        super().__init__(name, folder, classes, train, test, val_fraction=val_fraction, seed=seed)

    def _read(self, file: Path) -> list[VideoRecord]:
        videos = []
        for line in read_lines(file):
            entry, number = split_last(line, file) if stem_of(line) == line else (line, None)
            class_name, _, video = entry.rpartition("/")
            label = self._labels.get(class_name.lower())
            if label is None or (number is not None and number != str(label + 1)):
                raise UsageError(f"{file}: {line!r} contradicts classInd.txt; use the official lists")
            stem = stem_of(video)
            group = _GROUP.search(stem)
            videos.append(
                VideoRecord(
                    video_id=f"{class_name}/{stem}",
                    path=self._file(class_name, video),
                    labels=(label,),
                    group=f"{class_name}/g{group[1]}" if group else None,
                )
            )
        return videos

    def _file(self, class_name: str, video: str) -> Path:
        """Return the file of a listed video, or where it should be."""
        folder = self._folders.get(class_name.lower(), self._videos_folder / class_name)
        if class_name not in self._files:
            self._files[class_name] = {stem.lower(): path for stem, path in video_files(folder).items()}
        return self._files[class_name].get(stem_of(video).lower(), folder / video)


def read_classes(file: Path) -> list[str]:
    """Return the class names of a list ``<number> <name>``, numbered from 1 without a gap.

    Raises:
        UsageError: the file is missing or numbered otherwise.
    """
    entries = [line.split() for line in read_lines(file)]
    if any(len(entry) != 2 or entry[0] != str(i) for i, entry in enumerate(entries, start=1)):
        raise UsageError(f"{file}: must hold lines like '1 ApplyEyeMakeup', numbered from 1")
    return [class_name for _, class_name in entries]
