"""HMDB51 with its official splits: trimmed clips of 51 classes, 70 training and 30 test clips per class and split.

Labels and subsets come from the official ``<class>_test_split<k>.txt``, never from the order of folders. File names
contain ``#``, ``!``, ``;``, ``&`` and brackets, and are taken literally.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from dsn_lightning.datasets.annotations import (
    ListedVideos,
    annotation_path,
    check_below_root,
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

_ARCHIVE = "testTrainMulti_7030_splits"
_PLACES = ("splits", _ARCHIVE, f"test_train_splits/{_ARCHIVE}", "test_train_splits")
_SUBSETS: dict[str, Subset | None] = {"0": None, "1": "train", "2": "test"}  # 0: not used in this split
# visible body parts, camera motion, number of people, camera viewpoint, quality, number of the clip
_PROPERTIES = re.compile(r"_[hulf]_(cm|nm)_np\d+_(fr|ba|le|ri)_(goo|med|bad)_\d+$")


class Hmdb51(ListedVideos):
    """HMDB51 as a `VideoSource`.

    A video's id is ``<class>/<name>`` without the extension. Its group is class and film (``catch/Italian_Job_4``),
    which the official splits keep together; a film that has clips of several classes may be in both subsets.

    Args:
        root: folder with the videos in ``videos/<class>/``, ``hmdb51_org/<class>/`` or ``<class>/``, in any container.
        split: official split, 1 to 3.
        annotations: folder of the 153 official lists; None looks for ``splits``, ``testTrainMulti_7030_splits`` and
            ``test_train_splits`` (with or without the former inside) below the root.
        name, val_fraction, seed: see `ListedVideos`.

    Raises:
        UsageError: a folder or list is missing, a list has an unexpected format, or an argument is out of range.
    """

    num_classes: ClassVar[int | None] = 51

    def __init__(
        self,
        root: str | None,
        *,
        name: str = "hmdb51",
        split: int = 1,
        annotations: str | None = None,
        val_fraction: float = 0.0,
        seed: int = 0,
    ) -> None:
        folder = root_folder(root, content="videos/<class>/*.avi and the official lists in splits/")
        ending = f"_test_split{check_split(split)}.txt"
        lists = annotation_path(
            annotations,
            [folder / place for place in _PLACES],
            content="the folder of the official lists (<class>_test_split1.txt, ...)",
        )
        classes = sorted(file.name.removesuffix(ending) for file in lists.glob(f"*{ending}"))
        if len(classes) != self.num_classes:
            raise UsageError(f"{lists}: expected {self.num_classes} lists *{ending}, got {len(classes)}")
        videos = first_existing(folder / "videos", folder / "hmdb51_org", folder)
        listed = [
            found
            for label, class_name in enumerate(classes)
            for found in _read(lists / f"{class_name}{ending}", videos / class_name, label)
        ]
        train, test = ([video for side, video in listed if side == subset] for subset in ("train", "test"))
        check_below_root([*train, *test], folder, annotations=lists)
        super().__init__(name, folder, classes, train, test, val_fraction=val_fraction, seed=seed)

    @classmethod
    def official_counts(cls, *, split: int = 1, **_: Any) -> Mapping[Subset, int] | None:
        """Return the number of videos in the official lists, the same for each split."""
        check_split(split)
        return {"train": 3570, "test": 1530}


def _read(file: Path, folder: Path, label: int) -> list[tuple[Subset, VideoRecord]]:
    """Return the videos of a class's list with their subsets; ``folder``, named as the class, should contain them."""
    files = video_files(folder)
    found = []
    for line in read_lines(file):
        video, code = split_label(line, file)
        if code not in _SUBSETS:
            raise UsageError(f"{file}: {line!r} does not end with 0, 1 or 2")
        if subset := _SUBSETS[code]:
            stem = video_stem(video)
            film = film_of(stem, folder.name)
            group = None if film is None else f"{folder.name}/{film}"
            path = files.get(stem, folder / video)
            found.append((subset, VideoRecord(f"{folder.name}/{stem}", path, (label,), group=group)))
    return found


def film_of(stem: str, class_name: str) -> str | None:
    """Return the film that a clip was cut from, or None if the name does not follow the official pattern.

    >>> film_of("Amazing_Soccer_#2_kick_ball_f_cm_np1_le_bad_2", "kick_ball")
    'Amazing_Soccer_#2'
    """
    source = _PROPERTIES.sub("", stem)
    return source.removesuffix(f"_{class_name}") if source != stem and source.endswith(f"_{class_name}") else None
