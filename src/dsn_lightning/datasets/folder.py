"""Anyone's own videos: one folder a class, ``root/<class>/*.{mp4,avi,mkv,webm,mov}``, or list files.

A video may also be a folder of images, ``root/<class>/<video>/img_00001.jpg``, see `dsn_lightning.video.image_folder`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dsn_lightning.datasets.annotations import VIDEO_EXTENSIONS, hold_out, read_lines
from dsn_lightning.datasets.list_files import Listed, read_list
from dsn_lightning.datasets.records import Subset, VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.stateless_random import stateless_rng

_IMAGE_EXTENSIONS = frozenset({".jpeg", ".jpg", ".png"})


class Folder:
    """Videos split into training, validation and test videos in one of three ways.

    *By fraction* (default): of each class, a share of the videos. *By group*: a regular expression finds a group in
    each file's name, a person or a source film, and whole groups go to one side, so that no group is on two. Both find
    the videos in one folder a class.

    *By list files*, see `dsn_lightning.datasets.list_files`: ``path label`` lines, or CSV with several labels and
    segments, with paths relative to ``root``. A label is a class name or, where ``classes`` is given, its number from
    0. Lists without labels take the class from the folder; the folders in the lists are the classes. A listed video
    whose file is not there is kept in the records.

    Args:
        root: the folder of class folders, or the one that the lists' paths start from.
        name: of the data set in results.
        test_fraction: share of videos, or of groups, that are tested on, in (0, 1).
        val_fraction: share of the others that is held out for following the training, in [0, 1); with list files, of
            the training list's groups, or files where it gives none, unless a class had no other.
        group: regular expression searched in the file's name; its first group, or the whole match, names the group.
        train_list: list file of the training videos; then ``test_list`` is needed too.
        val_list: list file of the validation videos, in place of ``val_fraction``.
        test_list: list file of the test videos.
        classes: text file with a class name a line, in the order of the labels; None takes the labels of the training
            list or the folders of all lists, sorted (as numbers if all of them are).
        seed: decides which videos or groups go where.

    Raises:
        UsageError: the folder, a class folder or a list is missing, empty or malformed, none of a list's files is
            there, a name has no group, a label is unknown, or the test videos have a class that no training video has.
    """

    def __init__(
        self,
        root: str | None,
        *,
        name: str = "folder",
        test_fraction: float = 0.3,
        val_fraction: float = 0.0,
        group: str | None = None,
        train_list: str | None = None,
        val_list: str | None = None,
        test_list: str | None = None,
        classes: str | None = None,
        seed: int = 0,
    ) -> None:
        if root is None:
            raise UsageError("dataset.root is not set: give the folder that holds one folder a class")
        self.name = name
        self.root = Path(root).expanduser().absolute()
        if not self.root.is_dir():
            raise UsageError(f"dataset.root={root}: no such folder")
        if not 0 < test_fraction < 1:
            raise UsageError(f"dataset.test_fraction={test_fraction}: must lie between 0 and 1")
        if not 0 <= val_fraction < 1:
            raise UsageError(f"dataset.val_fraction={val_fraction}: must be at least 0 and less than 1")
        self._group = group
        given: dict[Subset, str | None] = {"train": train_list, "val": val_list, "test": test_list}
        if any(given.values()):
            if not (train_list and test_list):
                raise UsageError("a split by list files needs both dataset.train_list and dataset.test_list")
            if val_fraction and val_list:
                raise UsageError(
                    f"dataset.val_fraction={val_fraction}: dataset.val_list={val_list} says what is held out already"
                )
            lists = {subset: self._read(f"dataset.{subset}_list", name) for subset, name in given.items() if name}
            self._classes = self._classes_of(lists, classes)
            numbers = {str(label): label for label in range(len(self._classes))} if classes is not None else {}
            self._labels = numbers | {class_name: label for label, class_name in enumerate(self._classes)}
            self._videos = self._from_lists(lists)
            if val_fraction:
                self._videos = {**self._videos, **self._hold_out(self._videos["train"], val_fraction, seed)}
        elif classes is not None:
            raise UsageError(
                f"dataset.classes={classes}: goes with list files; class folders name the classes otherwise"
            )
        else:
            self._videos = self._from_folders(test_fraction, val_fraction, seed)
        self._check_sides()

    @property
    def classes(self) -> Sequence[str]:
        """Names of the class folders, sorted, or of the lists' classes."""
        return self._classes

    def prepare(self) -> None:
        """Nothing to make."""

    def records(self, subset: Subset) -> list[VideoRecord]:
        """Return the videos of one side: sorted, or in the list's order, whether their files are there or not.

        A video's id is its path below the root, with ``#start-end`` behind it if it is a part of the file.
        """
        return list(self._videos[subset])

    def _from_folders(
        self, test_fraction: float, val_fraction: float, seed: int
    ) -> Mapping[Subset, Sequence[VideoRecord]]:
        videos = self._find()
        if self._group is not None:
            units = sorted({str(video.group) for video in videos})
            side = self._split_units(units, test_fraction, val_fraction, seed, "group")
            sides = {video.video_id: side[str(video.group)] for video in videos}
        else:
            sides = {}
            for label, class_name in enumerate(self._classes):
                own = {str(video.path): video.video_id for video in videos if video.labels == (label,)}
                side = self._split_units(list(own), test_fraction, val_fraction, seed, f"video of class {class_name}")
                sides |= {own[path]: s for path, s in side.items()}
        subsets: tuple[Subset, ...] = ("train", "val", "test")
        return {subset: [video for video in videos if sides[video.video_id] == subset] for subset in subsets}

    def _find(self) -> list[VideoRecord]:
        folders = sorted(p for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))
        if len(folders) < 2:
            raise UsageError(f"dataset.root={self.root}: needs at least two class folders, holds {len(folders)}")
        self._classes = tuple(p.name for p in folders)
        videos = []
        for label, folder in enumerate(folders):
            files = _videos_in(folder)
            if not files:
                kinds = ", ".join(sorted(VIDEO_EXTENSIONS))
                raise UsageError(
                    f"{folder}: this class folder holds no video ({kinds}, or a folder of images); fill it or remove it"
                )
            videos += [
                VideoRecord(file.relative_to(self.root).as_posix(), file, (label,), group=self._group_of(file))
                for file in files
            ]
        return videos

    def _group_of(self, path: Path) -> str | None:
        pattern = self._group
        if pattern is None:
            return None
        try:
            match = re.search(pattern, path.name)
        except re.error as error:
            raise UsageError(f"dataset.group={pattern!r}: not a regular expression ({error})") from error
        if match is None:
            raise UsageError(f"dataset.group={pattern!r}: finds nothing in the name {path.name!r}")
        return match[1] if match.re.groups else match[0]

    @staticmethod
    def _split_units(
        units: Sequence[str], test_fraction: float, val_fraction: float, seed: int, kind: str
    ) -> dict[str, Subset]:
        """Deal units out: at least one is tested on, at least one trained on."""
        if len(units) < 2:
            raise UsageError(f"only one {kind} ({units[0]}): nothing could stand on both sides of the split")
        num_test = min(len(units) - 1, max(1, round(test_fraction * len(units))))
        rest = len(units) - num_test
        num_val = min(rest - 1, max(1, round(val_fraction * rest))) if val_fraction else 0
        order = [units[i] for i in stateless_rng(seed, "split", kind).permutation(len(units))]
        sides: list[Subset] = ["test"] * num_test + ["val"] * num_val + ["train"] * (rest - num_val)  # type: ignore
        return dict(zip(order, sides, strict=True))

    def _read(self, key: str, name: str) -> tuple[str, list[Listed]]:
        """Return how messages name a list, and its entries."""
        file = Path(name).expanduser()
        if not file.is_file():
            raise UsageError(f"{key}={name}: no such file")
        where, entries = f"{key}={name}", read_list(file)
        places = [self.root / entry.path for entry in entries]
        if not any(place.exists() or place.with_suffix("").is_dir() for place in places):  # or a folder of its frames
            raise UsageError(
                f"{where}: none of its {len(entries)} files is below {self.root}, such as {entries[0].path!r}"
            )
        return where, entries

    def _classes_of(self, lists: Mapping[Subset, tuple[str, list[Listed]]], names: str | None) -> tuple[str, ...]:
        if len({entries[0].labels is None for _, entries in lists.values()}) > 1:
            raise UsageError(
                f"some of the lists give labels and others none: {', '.join(w for w, _ in lists.values())}"
            )
        if names is not None:
            return tuple(dict.fromkeys(read_lines(Path(names).expanduser())))
        where, entries = lists["train"]
        if entries[0].labels is None:
            found = {_folder_of(entry, where) for where, own in lists.values() for entry in own}
        else:
            found = {label for entry in entries for label in entry.labels or ()}
        if len(found) < 2:
            raise UsageError(f"{where}: needs at least two classes, has {len(found)}")
        return tuple(sorted(found, key=int if all(label.isdecimal() for label in found) else None))

    def _from_lists(self, lists: Mapping[Subset, tuple[str, list[Listed]]]) -> Mapping[Subset, Sequence[VideoRecord]]:
        videos: dict[Subset, list[VideoRecord]] = {"train": [], "val": [], "test": []}
        side: dict[str, Subset] = {}
        for subset, (where, entries) in lists.items():
            for entry in entries:
                path = Path(os.path.normpath(self.root / entry.path))
                if not path.is_relative_to(self.root):
                    raise UsageError(f"{where}: {entry.path!r} does not lie below dataset.root={self.root}")
                video = path.relative_to(self.root).as_posix()
                if entry.segment is not None:
                    video += "#{:.10g}-{:.10g}".format(*entry.segment)
                if video in side:
                    raise UsageError(f"{where}: {video!r} stands in the {side[video]} list too")
                side[video] = subset
                labels = entry.labels if entry.labels is not None else (_folder_of(entry, where),)
                numbers = tuple(sorted({self._number(label, f"{where}: {entry.path!r}") for label in labels}))
                group = entry.group or self._group_of(path)
                videos[subset].append(VideoRecord(video, path, numbers, segment=entry.segment, group=group))
        return videos

    @staticmethod
    def _hold_out(videos: Sequence[VideoRecord], fraction: float, seed: int) -> dict[Subset, Sequence[VideoRecord]]:
        """Divide the training list; what would leave a class without a training video is trained on."""

        def unit(video: VideoRecord) -> str:
            return video.group or str(video.path)

        kept, held_out = hold_out(videos, fraction, seed=seed, unit=unit)
        trained = {label for video in kept for label in video.labels}
        held = {unit(video) for video in held_out} - {
            unit(video) for video in held_out if not {*video.labels} <= trained
        }
        return {
            "train": [video for video in videos if unit(video) not in held],
            "val": [video for video in videos if unit(video) in held],
        }

    def _number(self, label: str, where: str) -> int:
        if label not in self._labels:
            some = ", ".join(self._classes[:3]) + (", ..." if len(self._classes) > 3 else "")
            raise UsageError(f"{where} has the label {label!r}, which is none of the classes ({some})")
        return self._labels[label]

    def _check_sides(self) -> None:
        trained = {label for video in self._videos["train"] for label in video.labels}
        for subset in ("val", "test"):
            for video in self._videos[subset]:
                for label in set(video.labels) - trained:
                    raise UsageError(
                        f"class {self._classes[label]!r} is tested on ({video.path.name}) but no training video has "
                        "it; change the split or remove the class"
                    )


def _videos_in(folder: Path) -> list[Path]:
    """Return a class folder's videos, sorted: files, and folders of images that are not the frames of such a file."""
    shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
    files = {path for path in shown if path.suffix.lower() in VIDEO_EXTENSIONS}
    taken = files | {path.with_suffix("") for path in files}
    return sorted([*files, *(path for path in shown if path not in taken and path.is_dir() and _holds_images(path))])


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in _IMAGE_EXTENSIONS and path.name[0] != "." for path in folder.iterdir())


def _folder_of(entry: Listed, where: str) -> str:
    """Return the class folder of a video whose list gives no label."""
    class_name, has_folder, _ = entry.path.removeprefix("./").partition("/")
    if not has_folder:
        raise UsageError(f"{where}: {entry.path!r} has neither a label behind it nor a class folder before it")
    return class_name
