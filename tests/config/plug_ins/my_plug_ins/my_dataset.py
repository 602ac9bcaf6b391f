"""A data set: class folders, the last video of each class tested on and the one before held out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dsn_lightning.datasets import Subset, VideoRecord


class SortedFolder:
    """Videos in one folder a class, split by their order."""

    metric = "top1"
    num_classes = None

    def __init__(self, root: str, name: str = "mine") -> None:
        self.name = name
        self.root = Path(root).absolute()

    @property
    def classes(self) -> Sequence[str]:
        return sorted(folder.name for folder in self.root.iterdir() if folder.is_dir())

    @classmethod
    def official_counts(cls, **settings: object) -> Mapping[Subset, int] | None:
        return None

    def prepare(self) -> None:
        pass

    def records(self, subset: Subset) -> list[VideoRecord]:
        part = {"train": slice(None, -2), "val": slice(-2, -1), "test": slice(-1, None)}[subset]
        return [
            VideoRecord(f"{name}/{file.stem}", file, (label,))
            for label, name in enumerate(self.classes)
            for file in sorted((self.root / name).glob("*.mp4"))[part]
        ]
