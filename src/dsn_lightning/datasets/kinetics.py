"""Kinetics-400, -600 or -700: trimmed clips of ten seconds, from the official CSV lists.

The clips of ``train.csv`` are trained on, those of ``validate.csv`` are tested on; the labels of the test clips were
never needed here. The classes are those of the training list, sorted by name. Many clips are no longer online: a clip
without a file is missing, as in every data set.
"""

from pathlib import Path

from dsn_lightning.datasets.annotations import (
    ListedVideos,
    annotation_path,
    check_below_root,
    checking_format,
    first_existing,
    root_folder,
    seconds_of,
    table_of,
    video_files,
)
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.files import is_inside

_COLUMNS = ("label", "youtube_id", "time_start", "time_end")
_TRAIN, _TEST = ("train",), ("validate", "val", "validation")  # names of the lists and of the folders of videos


class Kinetics(ListedVideos):
    """Kinetics as a `VideoSource`.

    A clip's id is ``<youtube_id>_<start>_<end>``, the times in seconds with six digits, as the official tools name its
    file (``-3B32lodo2M_000059_000069.mp4``). Its group is the YouTube video, from which several clips may be cut.

    Args:
        root: folder with the clips in ``train/`` and ``val/`` (or ``validate/``), with or without a folder for each
            class, or all in ``videos/`` or directly; in any container.
        annotations: folder of the official lists ``train.csv`` and ``validate.csv`` (or ``val.csv``); None looks for
            ``annotations`` below the root, and in the root.
        name, val_fraction, seed: see `ListedVideos`.

    Raises:
        UsageError: a folder or list is missing, a list has an unexpected format, a validation clip has a class that no
            training clip has, or an argument is out of range.
    """

    def __init__(
        self,
        root: str | None,
        *,
        name: str = "kinetics",
        annotations: str | None = None,
        val_fraction: float = 0.0,
        seed: int = 0,
    ) -> None:
        folder = root_folder(root, content="train/ and val/ with <youtube_id>_<start>_<end>.mp4 and the lists")
        places = [folder / "annotations" / "train.csv", folder / "train.csv"]
        found = annotation_path(annotations, places, content="the official lists (train.csv, validate.csv)")
        lists = found.parent if found.is_file() else found
        train, test = (_read(_list_of(lists, names)) for names in (_TRAIN, _TEST))
        classes = sorted({label for label, *_ in train})
        labels = {class_name: i for i, class_name in enumerate(classes)}
        if unknown := sorted({label for label, *_ in test} - {*classes}):
            raise UsageError(f"{lists}: no training clip has the label {unknown[0]!r} of a validation clip")
        videos = [_records(clips, names, labels, folder) for clips, names in ((train, _TRAIN), (test, _TEST))]
        check_below_root([*videos[0], *videos[1]], folder, annotations=lists)
        super().__init__(name, folder, classes, *videos, val_fraction=val_fraction, seed=seed)


def clip_name(youtube_id: str, start: float, end: float) -> str:
    """Return the name of a clip's file without its extension; times in seconds.

    >>> clip_name("-3B32lodo2M", 59, 69)
    '-3B32lodo2M_000059_000069'
    """
    return f"{youtube_id}_{int(start):06d}_{int(end):06d}"


def _list_of(folder: Path, names: tuple[str, ...]) -> Path:
    files = [folder / f"{name}.csv" for name in names]
    return next((file for file in files if file.is_file()), files[0])


def _read(file: Path) -> list[tuple[str, str, str]]:
    """Return the label, the YouTube id and the name of each clip in a list."""
    with checking_format(file):
        table = table_of(file)
        missing = [column for column in _COLUMNS if column not in (table.fieldnames or ())]
        if missing:
            raise UsageError(f"{file}: expected the columns {','.join(_COLUMNS)}; missing: {','.join(missing)}")
        rows = [{column: (row[column] or "").strip() for column in _COLUMNS} for row in table]
        if unlabelled := next((row for row in rows if not row["label"]), None):
            raise UsageError(f"{file}: the clip {unlabelled['youtube_id']} has no label")
        if outside := next((row for row in rows if not is_inside(f"{row['label']}/{_clip_of(row)}")), None):
            raise UsageError(f"{file}: {_clip_of(outside)!r} of {outside['label']!r} is outside of dataset.root")
        return [(row["label"], row["youtube_id"], _clip_of(row)) for row in rows]


def _clip_of(row: dict[str, str]) -> str:
    return clip_name(row["youtube_id"], seconds_of(row["time_start"]), seconds_of(row["time_end"]))


def _records(
    clips: list[tuple[str, str, str]], folders: tuple[str, ...], labels: dict[str, int], root: Path
) -> list[VideoRecord]:
    """Return the clips of a list with their files, which may be in a folder for each class or together."""
    place = first_existing(*(root / folder for folder in folders), root / "videos", root)
    together = video_files(place)
    of_class = {label: video_files(place / label, place / label.replace(" ", "_")) for label in labels}
    records = []
    for label, youtube_id, clip in clips:
        path = of_class[label].get(clip) or together.get(clip) or place / f"{clip}.mp4"
        records.append(VideoRecord(clip, path, (labels[label],), group=youtube_id))
    return records
