"""HMDB51 with its official splits: trimmed clips of 51 classes, 70 training and 30 test clips a class and split.

Labels and subsets come from the official ``<class>_test_split<k>.txt``, never from the order of folders. Names hold
``#``, ``!``, ``;``, ``&``, brackets and the like, and are taken literally.
"""

import re

from dsn_lightning.datasets.annotations import (
    ListedVideos,
    annotation_path,
    choose_split,
    first_folder,
    read_lines,
    refuse_outside,
    root_folder,
    split_last,
    stem_of,
    video_files,
)
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import UsageError

_NUM_CLASSES = 51
_SIDES = {"0": None, "1": "train", "2": "test"}  # 0: not used in this split
# visible body parts, camera motion, number of people, camera viewpoint, quality, number of the clip
_PROPERTIES = re.compile(r"_[hulf]_(cm|nm)_np\d+_(fr|ba|le|ri)_(goo|med|bad)_\d+$")


class Hmdb51(ListedVideos):
    """HMDB51 as the data module sees it.

    A video's id is ``<class>/<name>`` without the file's ending; its group is class and film (``catch/Italian_Job_4``).
    The official splits keep those on one side; a film that several classes were cut from may be on both.

    Args:
        root: folder with the videos in ``videos/<class>/``, ``hmdb51_org/<class>/`` or ``<class>/``, in any container.
        name: of the data set in results.
        split: official split, 1 to 3.
        annotations: folder of the 153 official lists; None looks for ``splits``, ``testTrainMulti_7030_splits`` and
            ``test_train_splits`` (with or without the former inside) below the root.
        val_fraction: share of the groups that is held out of training for following it, in [0, 1).
        seed: decides which ones.

    Raises:
        UsageError: a folder or list is missing, a list is not of the official form, or an argument is out of range.
    """

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
        folder = root_folder(root, holds="videos/<class>/*.avi and the official lists in splits/")
        split = choose_split(split)
        official = "testTrainMulti_7030_splits"
        names = ("splits", official, f"test_train_splits/{official}", "test_train_splits")
        places = [folder / place for place in names]
        holds = "the folder of the official lists (<class>_test_split1.txt, ...)"
        lists = annotation_path(annotations, places, holds=holds)
        ending = f"_test_split{split}.txt"
        classes = sorted(file.name.removesuffix(ending) for file in lists.glob(f"*{ending}"))
        if len(classes) != _NUM_CLASSES:
            raise UsageError(f"{lists}: holds {len(classes)} lists *{ending}, the official ones are 51")
        videos = first_folder(folder / "videos", folder / "hmdb51_org", folder)
        train: list[VideoRecord] = []
        test: list[VideoRecord] = []
        for label, class_name in enumerate(classes):
            file = lists / f"{class_name}{ending}"
            files = video_files(videos / class_name)
            for line in read_lines(file):
                video, code = split_last(line, file)
                if code not in _SIDES:
                    raise UsageError(f"{file}: {line!r} does not end with 0, 1 or 2")
                side = _SIDES[code]
                if side is None:
                    continue
                stem = stem_of(video)
                path = files.get(stem, videos / class_name / video)
                film = film_of(stem, class_name)
                group = None if film is None else f"{class_name}/{film}"
                record = VideoRecord(f"{class_name}/{stem}", path, (label,), group=group)
                (train if side == "train" else test).append(record)
        refuse_outside([*train, *test], folder, where=lists)
        super().__init__(name, folder, classes, train, test, val_fraction=val_fraction, seed=seed)


def film_of(stem: str, class_name: str) -> str | None:
    """Return the film that a clip was cut from, or None where the name is not of the official form.

    >>> film_of("Amazing_Soccer_#2_kick_ball_f_cm_np1_le_bad_2", "kick_ball")
    'Amazing_Soccer_#2'
    """
    source = _PROPERTIES.sub("", stem)
    return source.removesuffix(f"_{class_name}") if source != stem and source.endswith(f"_{class_name}") else None
