"""ActivityNet v1.3: untrimmed videos of 200 classes, from the official annotation file.

Its ``training`` videos are trained on and its ``validation`` videos tested on (10,024 and 4,926); those of ``testing``
have no labels and are left out. The classes are the leaves of the taxonomy, sorted by name, so that a label does not
depend on the order of the file; inner nodes are no classes.
"""

import warnings
from pathlib import Path
from typing import Any

from dsn_lightning.datasets.annotations import (
    ListedVideos,
    annotation_path,
    expected_form,
    first_folder,
    read_json,
    refuse_outside,
    root_folder,
    union,
    video_files,
)
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import UsageError

_FILE = "activity_net.v1-3.min.json"


class ActivityNet(ListedVideos):
    """ActivityNet as the data module sees it.

    A video has the classes of all its annotations as labels, and their segments as spans (for measuring hit rates
    only). One without annotations is left out, which `prepare` warns about.

    Args:
        root: folder with the videos in ``videos/`` or directly, ``v_<id>.*`` or ``<id>.*``, in any container.
        name: of the data set in results.
        annotations: the annotation file; None looks for ``root/activity_net.v1-3.min.json``.
        val_fraction: share of the training videos that is held out for following the training, in [0, 1).
        seed: decides which ones.

    Raises:
        UsageError: the folder or the file is missing, the file has another form, or an argument is out of range.
    """

    def __init__(
        self,
        root: str | None,
        *,
        name: str = "activitynet",
        annotations: str | None = None,
        val_fraction: float = 0.0,
        seed: int = 0,
    ) -> None:
        folder = root_folder(root, holds=f"videos/v_<id>.mp4 and {_FILE}")
        file = annotation_path(annotations, [folder / _FILE], holds=f"the official annotation file ({_FILE})")
        content = read_json(file, "database", "taxonomy")
        with expected_form(file):
            classes, subsets = self._read(file, content, folder)
        refuse_outside([video for own in subsets.values() for video in own], folder, where=file)
        super().__init__(
            name, folder, classes, subsets["training"], subsets["validation"], val_fraction=val_fraction, seed=seed
        )

    def _read(
        self, file: Path, content: dict[str, Any], folder: Path
    ) -> tuple[list[str], dict[str, list[VideoRecord]]]:
        classes = leaves(content["taxonomy"])
        labels = {class_name: label for label, class_name in enumerate(classes)}
        self._unlabelled: list[str] = []
        videos = first_folder(folder / "videos", folder)
        files = video_files(videos)
        subsets: dict[str, list[VideoRecord]] = {"training": [], "validation": []}
        for video, entry in content["database"].items():
            if entry.get("subset") not in subsets:
                continue
            if not entry.get("annotations"):
                self._unlabelled.append(video)
                continue
            unknown = {own["label"] for own in entry["annotations"]} - set(labels)
            if unknown:
                raise UsageError(f"{file}: video {video} has the label {min(unknown)!r}, no leaf of the taxonomy")
            subsets[entry["subset"]].append(
                VideoRecord(
                    video_id=video,
                    path=files.get(f"v_{video}") or files.get(video) or videos / f"v_{video}.mp4",
                    labels=tuple(sorted({labels[own["label"]] for own in entry["annotations"]})),
                    spans=union(own["segment"] for own in entry["annotations"]),
                )
            )
        return classes, subsets

    def prepare(self) -> None:
        """Warn about the videos that are left out."""
        if self._unlabelled:
            some = ", ".join(self._unlabelled[:3]) + (", ..." if len(self._unlabelled) > 3 else "")
            warnings.warn(
                f"dataset={self.name}: {len(self._unlabelled)} videos of the labelled subsets have no annotation and "
                f"are left out ({some})",
                stacklevel=2,
            )


def leaves(taxonomy: list[dict[str, Any]]) -> list[str]:
    """Return the names of the nodes that have no children, sorted.

    >>> nodes = [("Root", 0, None), ("Sports", 1, 0), ("Archery", 2, 1), ("Ironing", 3, 0)]
    >>> leaves([{"nodeName": name, "nodeId": own, "parentId": parent} for name, own, parent in nodes])
    ['Archery', 'Ironing']
    """
    parents = {node["parentId"] for node in taxonomy}
    return sorted(node["nodeName"] for node in taxonomy if node["nodeId"] not in parents)
