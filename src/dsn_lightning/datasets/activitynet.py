"""ActivityNet v1.3: untrimmed videos of 200 classes, from the official annotation file.

The ``training`` videos are trained on and the ``validation`` videos are tested on (10,024 and 4,926). Those of
``testing`` have no labels and are left out. The classes are the leaves of the taxonomy, sorted by name, so that a label
does not depend on the order of the file; inner nodes are not classes.
"""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from dsn_lightning.datasets.annotations import (
    ListedVideos,
    annotation_path,
    check_below_root,
    checking_format,
    first_existing,
    read_json,
    root_folder,
    union,
    video_files,
)
from dsn_lightning.datasets.records import Subset, VideoRecord
from dsn_lightning.errors import UsageError, printable

_FILE = "activity_net.v1-3.min.json"


class ActivityNet(ListedVideos):
    """ActivityNet as a `VideoSource`.

    The labels of a video are the classes of all its annotations; their segments are its spans. A video without
    annotations is left out, and `prepare` warns about it.

    Args:
        root: folder with the videos in ``videos/`` or directly, ``v_<id>.*`` or ``<id>.*``, in any container.
        annotations: the annotation file; None looks for ``root/activity_net.v1-3.min.json``.
        name, val_fraction, seed: see `ListedVideos`.

    Raises:
        UsageError: the folder or file is missing, the file has an unexpected format, or an argument is out of range.
    """

    num_classes: ClassVar[int | None] = 200

    def __init__(
        self,
        root: str | None,
        *,
        name: str = "activitynet",
        annotations: str | None = None,
        val_fraction: float = 0.0,
        seed: int = 0,
    ) -> None:
        folder = root_folder(root, content=f"videos/v_<id>.mp4 and {_FILE}")
        file = annotation_path(annotations, [folder / _FILE], content=f"the official annotation file ({_FILE})")
        with checking_format(file):
            classes, (train, test) = self._read(file, folder)
        check_below_root([*train, *test], folder, annotations=file)
        super().__init__(name, folder, classes, train, test, val_fraction=val_fraction, seed=seed)

    @classmethod
    def official_counts(cls, **_: Any) -> Mapping[Subset, int] | None:
        """Return the number of labelled videos in the official annotation file."""
        return {"train": 10024, "test": 4926}

    def _read(self, file: Path, folder: Path) -> tuple[list[str], Iterable[list[VideoRecord]]]:
        """Return the class names, and the training and the test videos; remember those without annotations."""
        content = read_json(file, "database", "taxonomy")
        classes = leaves(content["taxonomy"])
        labels = {class_name: label for label, class_name in enumerate(classes)}
        self._unlabelled: list[str] = []
        videos = first_existing(folder / "videos", folder)
        files = video_files(videos)
        subsets: dict[str, list[VideoRecord]] = {"training": [], "validation": []}
        for video, entry in content["database"].items():
            if entry.get("subset") not in subsets:
                continue
            if not entry.get("annotations"):
                self._unlabelled.append(video)
                continue
            names = {annotation["label"] for annotation in entry["annotations"]}
            if unknown := names - set(labels):
                raise UsageError(f"{file}: video {video} has the label {min(unknown)!r}, not a leaf of the taxonomy")
            path = files.get(f"v_{video}") or files.get(video) or videos / f"v_{video}.mp4"
            spans = union(annotation["segment"] for annotation in entry["annotations"])
            record = VideoRecord(video, path, tuple(sorted(labels[name] for name in names)), spans=spans)
            subsets[entry["subset"]].append(record)
        return classes, subsets.values()

    def prepare(self) -> None:
        """Warn about the videos that are left out."""
        if self._unlabelled:
            examples = ", ".join(map(printable, self._unlabelled[:3])) + (", ..." if len(self._unlabelled) > 3 else "")
            number = f"dataset={self.name}: left out {len(self._unlabelled)} videos"
            warnings.warn(f"{number} of the labelled subsets that have no annotations ({examples})", stacklevel=2)


def leaves(taxonomy: list[dict[str, Any]]) -> list[str]:
    """Return the names of the nodes without children, sorted.

    >>> nodes = [("Root", 0, None), ("Sports", 1, 0), ("Archery", 2, 1), ("Ironing", 3, 0)]
    >>> leaves([{"nodeName": name, "nodeId": node, "parentId": parent} for name, node, parent in nodes])
    ['Archery', 'Ironing']
    """
    parents = {node["parentId"] for node in taxonomy}
    return sorted(node["nodeName"] for node in taxonomy if node["nodeId"] not in parents)
