"""HMDB51 with its official splits: trimmed clips of 51 classes, 70 training and 30 test clips per class and split.

Labels and subsets come from the official ``<class>_test_split<k>.txt``, never from the order of folders. File names
contain ``#``, ``!``, ``;``, ``&`` and brackets, and are taken literally.
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

_ARCHIVE = "testTrainMulti_7030_splits"
# visible body parts, camera motion, number of people, camera viewpoint, quality, number of the clip
_PROPERTIES = re.compile(r"_[hulf]_(cm|nm)_np\d+_(fr|ba|le|ri)_(goo|med|bad)_\d+$")


class Hmdb51(OfficialSplits):
    """HMDB51 as a `VideoSource`.

    A video's id is ``<class>/<name>`` without the extension. Its group is class and film (``catch/Italian_Job_4``),
    which the official splits keep together; a film that has clips of several classes may be in both subsets.

    Args:
        root: folder with the videos in ``videos/<class>/``, ``hmdb51_org/<class>/`` or ``<class>/``, in any container.
        annotations: folder of the 153 official lists; None looks for ``splits``, ``testTrainMulti_7030_splits`` and
            ``test_train_splits`` (with or without the former inside) below the root.
        name, split, val_fraction, seed: see `OfficialSplits`, also for the errors.
    """

    num_classes: ClassVar[int | None] = 51
    content = "videos/<class>/*.avi and the official lists in splits/"
    video_folders = ("videos", "hmdb51_org", "")
    list_folders = ("splits", _ARCHIVE, f"test_train_splits/{_ARCHIVE}", "test_train_splits")
    lists = "<class>_test_split1.txt, ..."

    @classmethod
    def official_counts(cls, *, split: int = 1, **_: Any) -> Mapping[Subset, int] | None:
        """Return the number of videos in the official lists, the same for each split."""
        check_split(split)
        return {"train": 3570, "test": 1530}

    def read(self, lists: Path, videos: Path, split: int) -> Lists:
        """Read the list of each class."""
        ending = f"_test_split{split}.txt"
        classes = sorted(file.name.removesuffix(ending) for file in lists.glob(f"*{ending}"))
        if len(classes) != self.num_classes:
            raise UsageError(f"{lists}: expected {self.num_classes} lists *{ending}, got {len(classes)}")
        found: dict[str, list[VideoRecord]] = {"0": [], "1": [], "2": []}  # not used in this split, train, test
        for label, class_name in enumerate(classes):
            file, folder = lists / f"{class_name}{ending}", videos / class_name
            files = video_files(folder)
            for line in read_lines(file):
                video, code = split_label(line, file)
                if code not in found:
                    raise UsageError(f"{file}: {line!r} does not end with 0, 1 or 2")
                stem = video_stem(video)
                film = film_of(stem, class_name)
                group = None if film is None else f"{class_name}/{film}"
                path = files.get(stem, folder / video)
                found[code].append(VideoRecord(f"{class_name}/{stem}", path, (label,), group=group))
        return classes, found["1"], found["2"]


def film_of(stem: str, class_name: str) -> str | None:
    """Return the film that a clip was cut from, or None if the name does not follow the official pattern.

    >>> film_of("Amazing_Soccer_#2_kick_ball_f_cm_np1_le_bad_2", "kick_ball")
    'Amazing_Soccer_#2'
    """
    source = _PROPERTIES.sub("", stem)
    return source.removesuffix(f"_{class_name}") if source != stem and source.endswith(f"_{class_name}") else None
