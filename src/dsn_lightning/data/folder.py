"""Anyone's own videos: one folder a class, ``root/<class>/*.{mp4,avi,mkv,webm,mov}``."""

import re
from collections.abc import Sequence
from pathlib import Path

from dsn_lightning.data.records import Subset, VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.keyed import keyed_rng

_EXTENSIONS = frozenset({".mp4", ".avi", ".mkv", ".webm", ".mov"})


class Folder:
    """Videos in one folder a class, split into training, validation and test videos in one of three ways.

    *By fraction* (default): of each class, a share of the videos. *By group*: a regular expression finds a group in
    each file's name, a person or a source film, and whole groups go to one side, so that no group is on two.
    *By list files*: text files with one path a line, relative to ``root``.

    Args:
        root: the folder of class folders.
        name: of the data set in results.
        test_fraction: share of videos, or of groups, that are tested on, in (0, 1).
        val_fraction: share of the others that is held out for following the training, in [0, 1).
        group: regular expression searched in the file's name; its first group, or the whole match, names the group.
        train_list: list file of the training videos; then ``test_list`` is needed too.
        val_list: list file of the validation videos.
        test_list: list file of the test videos.
        seed: decides which videos or groups go where.

    Raises:
        UsageError: the folder, a class folder or a list is missing or empty, a name has no group, or the test videos
            have a class that no training video has.
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
        videos = self._find()
        if train_list or val_list or test_list:
            if not (train_list and test_list):
                raise UsageError("a split by list files needs both dataset.train_list and dataset.test_list")
            lists = {"train": train_list, "val": val_list, "test": test_list}
            self._side = self._split_by_lists({k: v for k, v in lists.items() if v}, videos)
        elif group is not None:
            groups = {path: self._group_of(path, group) for path in videos}
            side = self._split_units(sorted(set(groups.values())), test_fraction, val_fraction, seed, "group")
            self._side = {path: side[groups[path]] for path in videos}
        else:
            self._side = {}
            for label, class_name in enumerate(self._classes):
                own = [str(path) for path, of in videos.items() if of == label]
                side = self._split_units(own, test_fraction, val_fraction, seed, f"video of class {class_name}")
                self._side.update({Path(path): s for path, s in side.items()})
        self._videos = videos
        self._check_sides()

    @property
    def classes(self) -> Sequence[str]:
        """Names of the class folders, sorted."""
        return self._classes

    def prepare(self) -> None:
        """Nothing to make."""

    def records(self, subset: Subset) -> list[VideoRecord]:
        """Return the videos of one side, sorted; their id is the path below the root."""
        return [
            VideoRecord(video_id=path.relative_to(self.root).as_posix(), path=path, labels=(label,))
            for path, label in self._videos.items()
            if self._side.get(path) == subset
        ]

    def _find(self) -> dict[Path, int]:
        folders = sorted(p for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))
        if len(folders) < 2:
            raise UsageError(f"dataset.root={self.root}: needs at least two class folders, holds {len(folders)}")
        self._classes = tuple(p.name for p in folders)
        videos: dict[Path, int] = {}
        for label, folder in enumerate(folders):
            files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _EXTENSIONS and p.name[0] != ".")
            if not files:
                kinds = ", ".join(sorted(_EXTENSIONS))
                raise UsageError(f"{folder}: this class folder holds no video ({kinds}); fill it or remove it")
            videos.update(dict.fromkeys(files, label))
        return videos

    @staticmethod
    def _group_of(path: Path, pattern: str) -> str:
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
        order = [units[i] for i in keyed_rng(seed, "split", kind).permutation(len(units))]
        sides: list[Subset] = ["test"] * num_test + ["val"] * num_val + ["train"] * (rest - num_val)  # type: ignore
        return dict(zip(order, sides, strict=True))

    def _split_by_lists(self, lists: dict[str, str], videos: dict[Path, int]) -> dict[Path, Subset]:
        side: dict[Path, Subset] = {}
        for subset, name in lists.items():
            file = Path(name).expanduser()
            if not file.is_file():
                raise UsageError(f"dataset.{subset}_list={name}: no such file")
            entries = [line.strip() for line in file.read_text().splitlines() if line.strip()]
            if not entries:
                raise UsageError(f"dataset.{subset}_list={name}: the list is empty")
            for entry in entries:
                path = self.root / entry
                if path not in videos:
                    raise UsageError(f"dataset.{subset}_list={name}: {entry!r} is no video below {self.root}")
                if path in side:
                    raise UsageError(f"dataset.{subset}_list={name}: {entry!r} stands in the {side[path]} list too")
                side[path] = subset  # type: ignore[assignment]
        return side

    def _check_sides(self) -> None:
        trained = {label for path, label in self._videos.items() if self._side.get(path) == "train"}
        for path, label in self._videos.items():
            if self._side.get(path) in ("val", "test") and label not in trained:
                raise UsageError(
                    f"class {self._classes[label]!r} is tested on ({path.name}) but no training video has it; "
                    "change the split or remove the class"
                )
