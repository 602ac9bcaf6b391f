"""The user's videos: one folder per class, ``root/<class>/*``, or list files.

A video may also be a folder of images, ``root/<class>/<video>/img_00001.jpg``, see `dsn_lightning.video.image_folder`.
"""

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dsn_lightning.datasets.annotations import (
    VIDEO_EXTENSIONS,
    ListedVideos,
    check_val_fraction,
    hold_out,
    read_lines,
    root_folder,
)
from dsn_lightning.datasets.list_files import ListEntry, read_list
from dsn_lightning.datasets.records import SUBSETS, Subset, VideoRecord
from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import user_path
from dsn_lightning.stateless_random import stateless_rng

_IMAGE_EXTENSIONS = frozenset({".jpeg", ".jpg", ".png"})

Lists = Mapping[Subset, tuple[str, list[ListEntry]]]
"""For each subset with a list file: the setting that names the file, for messages, and its entries."""

Split = Mapping[Subset, list[VideoRecord]]


class Folder(ListedVideos):
    """The user's videos as a `VideoSource`, split into training, validation and test videos in one of three ways.

    *By fraction* (default): a share of the videos of each class. *By group*: a regular expression finds a group in each
    file name, such as a person or a source film, and all videos of a group go to one subset. Both find the videos in
    one folder per class.

    *By list files*, see `dsn_lightning.datasets.list_files`: lines ``path label``, or CSV with several labels and
    segments, with paths relative to ``root``. A label is a class name or, if ``classes`` is given, its number from 0.
    In lists without labels the folders are the classes. A listed video whose file is missing is kept in the records.

    A video's id is its path below the root, followed by ``#start-end`` if it is a part of the file. Files in class
    folders that are not videos are named in a warning.

    Args:
        root: the folder of class folders, or the folder that the lists' paths are relative to.
        name: name of the data set in results.
        nested: whether videos in folders below the class folders are found, too.
        test_fraction: share of the videos, or of the groups, that is tested on, in (0, 1).
        val_fraction: share of the others that is held out to follow the training, in [0, 1). With list files: share of
            the training list's groups, or of its files without a group; a class always keeps a training video.
        group: regular expression searched in the file name; its first group, or the whole match, names the group.
        train_list: list file of the training videos; requires ``test_list``.
        val_list: list file of the validation videos, instead of ``val_fraction``.
        test_list: list file of the test videos.
        classes: text file with one class name per line, in the order of the labels; None takes the labels of the
            training list or the folders of all lists, sorted (as numbers if all of them are).
        seed: decides which videos or groups go to which subset.

    Raises:
        UsageError: the folder, a class folder or a list is missing, empty or malformed, no file of a list exists, a
            name has no group, a label is unknown, or the test videos have a class that no training video has.
    """

    def __init__(
        self,
        root: str | None,
        *,
        name: str = "folder",
        nested: bool = False,
        test_fraction: float = 0.3,
        val_fraction: float = 0.0,
        group: str | None = None,
        train_list: str | None = None,
        val_list: str | None = None,
        test_list: str | None = None,
        classes: str | None = None,
        seed: int = 0,
    ) -> None:
        self.root = root_folder(root, content="one folder per class, or the files of the lists")
        if not 0 < test_fraction < 1:
            raise UsageError(f"dataset.test_fraction={test_fraction}: must be above 0 and below 1")
        check_val_fraction(val_fraction)
        self._group, self._nested = group, nested
        given: dict[Subset, str | None] = {"train": train_list, "val": val_list, "test": test_list}
        if any(given.values()):
            if not (train_list and test_list):
                raise UsageError("a split by list files needs both dataset.train_list and dataset.test_list")
            if val_fraction and val_list:
                raise UsageError(
                    f"dataset.val_fraction={val_fraction}: cannot be combined with dataset.val_list={val_list}"
                )
            videos = self._from_lists({subset: file for subset, file in given.items() if file}, classes)
            if val_fraction:
                train, val = hold_out(videos["train"], val_fraction, seed=seed, by_file=True)
                videos = {**videos, "train": train, "val": val}
        elif classes is not None:
            raise UsageError(
                f"dataset.classes={classes}: needs list files; otherwise the class folders name the classes"
            )
        else:
            videos = self._from_folders(test_fraction, val_fraction, seed)
        super().__init__(name, self.root, self._classes, videos["train"], videos["test"], val=videos["val"])
        self._check_trained_classes()

    def _from_folders(self, test_fraction: float, val_fraction: float, seed: int) -> Split:
        videos = self._find_videos()
        if self._group is not None:
            groups = sorted({str(video.group) for video in videos})
            subset_of_group = _split_units(groups, test_fraction, val_fraction, seed, "group")
            subset_of = {video.video_id: subset_of_group[str(video.group)] for video in videos}
        else:
            subset_of = {}
            for label, class_name in enumerate(self._classes):
                ids = {str(video.path): video.video_id for video in videos if video.labels == (label,)}
                split = _split_units(list(ids), test_fraction, val_fraction, seed, f"video of class {class_name}")
                subset_of |= {ids[path]: subset for path, subset in split.items()}
        return {subset: [video for video in videos if subset_of[video.video_id] == subset] for subset in SUBSETS}

    def _find_videos(self) -> list[VideoRecord]:
        folders = sorted(p for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))
        if len(folders) < 2:
            raise UsageError(f"dataset.root={self.root}: needs at least two class folders, got {len(folders)}")
        self._classes = tuple(printable(p.name) for p in folders)
        left_out: list[Path] = []
        files = {folder: sorted(self._videos_in(folder, left_out)) for folder in folders}
        if left_out:
            examples = ", ".join(printable(path.relative_to(self.root)) for path in sorted(left_out)[:5])
            remedy = "; nested=true also finds videos in folders below the class folders" if not self._nested else ""
            more = ", ..." if len(left_out) > 5 else ""
            warnings.warn(
                f"dataset.root={printable(self.root)}: left out {len(left_out)} files and folders that are not videos "
                f"({examples}{more}){remedy}",
                stacklevel=2,
            )
        if empty := [folder for folder in folders if not files[folder]]:
            extensions = ", ".join(sorted(VIDEO_EXTENSIONS))
            raise UsageError(
                f"{empty[0]}: no videos in this class folder ({extensions}, or folders of images); fill it, remove it, "
                "or set dataset.nested=true to look in the folders below it"
            )
        return [
            VideoRecord(printable(file.relative_to(self.root).as_posix()), file, (label,), group=self._group_of(file))
            for label, folder in enumerate(folders)
            for file in files[folder]
        ]

    def _videos_in(self, folder: Path, left_out: list[Path]) -> Iterator[Path]:
        """Yield a folder's videos: files, and folders of images that are not the frames of such a file."""
        visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
        files = {path for path in visible if path.suffix.lower() in VIDEO_EXTENSIONS and not path.is_dir()}
        frames_of = {path.with_suffix("") for path in files}
        for path in visible:
            if path in files or (path.is_dir() and path not in frames_of and _has_images(path)):
                yield path
            elif self._nested and path.is_dir() and path not in frames_of:
                yield from self._videos_in(path, left_out)
            elif path not in frames_of:
                left_out.append(path)

    def _group_of(self, path: Path) -> str | None:
        pattern = self._group
        if pattern is None:
            return None
        try:
            match = re.search(pattern, path.name)
        except re.error as error:
            raise UsageError(f"dataset.group={pattern!r}: not a regular expression ({error})") from error
        if match is None:
            raise UsageError(f"dataset.group={pattern!r}: no match in the file name {path.name!r}")
        return match[1] if match.re.groups else match[0]

    def _from_lists(self, files: Mapping[Subset, str], class_list: str | None) -> Split:
        """Return the videos in list files, and set the classes."""
        lists = {subset: self._read_list(f"dataset.{subset}_list", file) for subset, file in files.items()}
        if len({entries[0].labels is None for _, entries in lists.values()}) > 1:
            raise UsageError(
                f"only some of the lists have labels; label all or none: {', '.join(key for key, _ in lists.values())}"
            )
        if class_list is None:
            self._classes = _classes_of(lists)
            self._labels = {}
        else:
            self._classes = tuple(dict.fromkeys(read_lines(user_path(class_list))))
            self._labels = {str(label): label for label in range(len(self._classes))}
        self._labels |= {class_name: label for label, class_name in enumerate(self._classes)}
        videos: dict[Subset, list[VideoRecord]] = {subset: [] for subset in SUBSETS}
        subset_of: dict[str, Subset] = {}
        for subset, (key, entries) in lists.items():
            for entry in entries:
                video = self._record(entry, key)
                if video.video_id in subset_of:
                    raise UsageError(f"{key}: {video.video_id!r} is also in the {subset_of[video.video_id]} list")
                subset_of[video.video_id] = subset
                videos[subset].append(video)
        return videos

    def _read_list(self, key: str, name: str) -> tuple[str, list[ListEntry]]:
        """Return ``key=name``, for messages, and the entries of the list."""
        file = user_path(name)
        if not file.is_file():
            raise UsageError(f"{key}={name}: no such file")
        entries = read_list(file)
        paths = [self.root / entry.path for entry in entries]
        folders = [path.parent / path.stem for path in paths]  # of their frames; / has no suffix to take off
        if not any(map(os.path.exists, paths)) and not any(map(os.path.isdir, folders)):
            raise UsageError(
                f"{key}={name}: none of its {len(entries)} files is below {self.root}, for example {entries[0].path!r}"
            )
        return f"{key}={name}", entries

    def _record(self, entry: ListEntry, key: str) -> VideoRecord:
        path = Path(os.path.normpath(self.root / entry.path))
        if not path.is_relative_to(self.root):
            raise UsageError(f"{key}: {entry.path!r} is outside of dataset.root={self.root}")
        video_id = printable(path.relative_to(self.root).as_posix())
        if entry.segment is not None:
            video_id += "#{:.10g}-{:.10g}".format(*entry.segment)
        names = entry.labels if entry.labels is not None else (_class_folder(entry, key),)
        if unknown := [name for name in names if name not in self._labels]:
            examples = ", ".join(self._classes[:3]) + (", ..." if len(self._classes) > 3 else "")
            raise UsageError(
                f"{key}: {entry.path!r} has the label {unknown[0]!r}, which is not one of the classes ({examples})"
            )
        labels = tuple(sorted({self._labels[name] for name in names}))
        return VideoRecord(video_id, path, labels, segment=entry.segment, group=entry.group or self._group_of(path))

    def _check_trained_classes(self) -> None:
        trained = {label for video in self._videos["train"] for label in video.labels}
        for subset in ("val", "test"):
            for video in self._videos[subset]:
                for label in set(video.labels) - trained:
                    raise UsageError(
                        f"class {self._classes[label]!r} has the {subset} video {video.path.name} but no training "
                        "video; change the split or remove the class"
                    )


def _split_units(
    units: Sequence[str], test_fraction: float, val_fraction: float, seed: int, kind: str
) -> dict[str, Subset]:
    """Deal out units to the subsets: at least one to ``test`` and one to ``train``."""
    if len(units) < 2:
        raise UsageError(f"cannot split: there is only one {kind} ({units[0]})")
    num_test = min(len(units) - 1, max(1, round(test_fraction * len(units))))
    rest = len(units) - num_test
    num_val = min(rest - 1, max(1, round(val_fraction * rest))) if val_fraction else 0
    order = [units[i] for i in stateless_rng(seed, "split", kind).permutation(len(units))]
    counts: dict[Subset, int] = {"test": num_test, "val": num_val, "train": rest - num_val}
    subsets = [subset for subset, count in counts.items() for _ in range(count)]
    return dict(zip(order, subsets, strict=True))


def _classes_of(lists: Lists) -> tuple[str, ...]:
    """Return the labels of the training list, or the class folders of all lists if these have no labels."""
    key, entries = lists["train"]
    if entries[0].labels is None:
        found = {_class_folder(entry, name) for name, listed in lists.values() for entry in listed}
    else:
        found = {label for entry in entries for label in entry.labels or ()}
    if len(found) < 2:
        raise UsageError(f"{key}: needs at least two classes, got {len(found)}")
    return tuple(sorted(found, key=int if all(label.isdecimal() for label in found) else None))


def _class_folder(entry: ListEntry, key: str) -> str:
    """Return the class folder of a video in a list without labels."""
    class_name, has_folder, _ = entry.path.removeprefix("./").partition("/")
    if not has_folder:
        raise UsageError(f"{key}: {entry.path!r} has neither a label nor a class folder")
    return class_name


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in _IMAGE_EXTENSIONS and path.name[0] != "." for path in folder.iterdir())
