"""The videos of a data set that exist and can be read, found and indexed before training or testing."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from dsn_lightning.datasets.records import Subset, VideoRecord, VideoSource
from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.copies import TITLES, CopyProber
from dsn_lightning.prepare.copy_kinds import KINDS
from dsn_lightning.prepare.copy_shards import CopyShards
from dsn_lightning.prepare.video_index import index_videos, refuse_flagged, usable
from dsn_lightning.video.decoder import Decoder, is_present
from dsn_lightning.video.modality import Modality
from dsn_lightning.video.time_line import Video, place_on_time_line
from dsn_lightning.video.video_info import VideoError, VideoInfo

Found = dict[Path, VideoInfo | VideoError]
Copies = dict[Path, tuple[Path, VideoInfo | VideoError]]
"""Original -> the copy to read instead, and what indexing the copy found."""


_STEPS = {"small": "transcode", "frames": "frames", "flow": "flow"}
"""What is read in place of the original files -> the step of dsn-prepare that makes it."""


@dataclass(frozen=True)
class BadVideoPolicy:
    """What happens if videos are missing or cannot be read.

    ``skip`` replaces a video that cannot be read in training, and counts it as failed in testing.
    """

    on_bad_video: Literal["skip", "raise"] = "raise"
    max_bad: float = 1.0  # largest share of bad training videos in an epoch, in [0, 1]
    max_missing: float = 1.0  # largest share of missing videos in each subset, in [0, 1]
    on_damage: Literal["flag", "refuse"] = "flag"  # whether files with damage that loses no frame are used or bad

    @property
    def skip(self) -> bool:
        """Whether bad videos are skipped."""
        return self.on_bad_video == "skip"


@dataclass(frozen=True)
class Reading:
    """How videos are read."""

    decoder: Decoder
    fps: float | None = None  # frames per second to resample to, by time stamp; None keeps each video's frame rate
    modality: Modality = "rgb"  # or flow, as dsn-prepare extracted it
    copies: Literal["small", "frames"] | None = None  # read these copies of dsn-prepare instead of the original files
    cache_frames: bool = False  # keep decoded frames in memory (small data sets only)


class ScaledSize(Protocol):
    """`Crop.scaled_size`."""

    def __call__(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) to which frames of a video are scaled."""


@dataclass
class SubsetInventory:
    """The listed videos of a subset."""

    videos: list[Video] = field(default_factory=list)  # that can be used, on their time lines
    missing: list[VideoRecord] = field(default_factory=list)  # records without a file
    bad: dict[str, VideoError] = field(default_factory=dict)  # video id -> why the video cannot be used

    def summary(self, classes: Sequence[str], *, clip_span: int) -> dict[str, Any]:
        """Return counts and reasons as plain values.

        These are ``listed, present``; ``missing`` by class; ``failed`` with the reasons; ``shorter_than_a_clip``, the
        number of videos that repeat their last frame, as they have fewer than ``clip_span`` frames; and ``digest``,
        equal for two subsets whose usable videos have the same ids, classes, segments and numbers of frames.
        """
        present = len(self.videos) + len(self.bad)
        missing = Counter(classes[label] for record in self.missing for label in record.labels)
        return {
            "listed": present + len(self.missing),
            "present": present,
            "missing": dict(sorted(missing.items())),
            "failed": {video_id: str(error) for video_id, error in self.bad.items()},
            "shorter_than_a_clip": sum(video.num_frames < clip_span for video in self.videos),
            "digest": self._digest(classes),
        }

    def _digest(self, classes: Sequence[str]) -> str:
        lines = []
        for video in self.videos:
            record, names = video.record, sorted(classes[label] for label in video.record.labels)
            lines.append(json.dumps([record.video_id, names, record.segment, video.info.num_frames]))
        return hashlib.blake2b("\n".join(sorted(lines)).encode(), digest_size=8).hexdigest()


def digests_of(summaries: Mapping[Subset, Mapping[str, Any]]) -> dict[str, str]:
    """Return the ``digest`` of each subset that has usable videos."""
    return {subset: summary["digest"] for subset, summary in summaries.items() if summary["listed"]}


def take_inventory(
    source: VideoSource,
    subsets: Sequence[Subset],
    reading: Reading,
    policy: BadVideoPolicy,
    *,
    prepared: Path,
    scaled_size: ScaledSize,
) -> tuple[dict[Subset, SubsetInventory], str | None]:
    """Find the files of a data set's videos and index them; unchanged files are not decoded again.

    ``source`` is prepared, ``prepared`` is the folder of the index and of the copies, and training scales frames to
    ``scaled_size``.

    Returns:
        The inventory of each subset, and the settings that the copies were made with (None without copies).

    Raises:
        UsageError: more videos are missing or bad than the policy allows, or there are no copies.
        VideoError: a video is bad, and the policy is to raise.
    """
    listed = {subset: source.records(subset) for subset in subsets}
    decoder = reading.decoder
    paths = {record.path for records in listed.values() for record in records}
    present = {path for path in paths if is_present(path, decoder)}
    inventories = {}
    for subset, records in listed.items():
        missing = [record for record in records if record.path not in present]
        if len(missing) > policy.max_missing * len(records):
            limit = f"dataset.reading.max_missing={policy.max_missing} allows; the first one: {missing[0].path}"
            raise UsageError(f"{len(missing)} of {len(records)} {subset} videos are missing, more than {limit}")
        if records and len(missing) == len(records):
            raise UsageError(f"all {len(records)} {subset} videos are missing; the first one: {missing[0].path}")
        inventories[subset] = SubsetInventory(missing=missing)
    found = index_videos(sorted(present), prepared, root=source.root, decoder=decoder, num_threads=os.cpu_count() or 1)
    if policy.on_damage == "refuse":
        found = refuse_flagged(found)
    copies, made_with = _index_copies(source, found, reading, prepared)
    if reading.modality == "rgb":
        check = _check_size_of_frames if reading.copies == "frames" else _check_size_of_copies
        check(copies, found, scaled_size)
    for subset, inventory in inventories.items():
        for record in listed[subset]:
            try:
                if record.path in present:
                    inventory.videos.append(_place(record, found, copies, reading.fps))
            except VideoError as error:
                if not policy.skip:
                    raise
                inventory.bad[record.video_id] = error
    train = inventories.get("train", SubsetInventory())
    num_bad, num_present = len(train.bad), len(train.videos) + len(train.bad)
    if num_bad > policy.max_bad * num_present:
        limit = f"dataset.reading.max_bad={policy.max_bad} allows; the first one: {next(iter(train.bad.values()))}"
        raise UsageError(f"{num_bad} of {num_present} training videos cannot be used, more than {limit}")
    return inventories, made_with


def _index_copies(source: VideoSource, found: Found, reading: Reading, prepared: Path) -> tuple[Copies, str | None]:
    """Return the copies to read instead of the originals, if any, and the settings they were made with."""
    read_from = reading.copies if reading.modality == "rgb" else "flow"
    if read_from is None:
        return {}, None
    step = _STEPS[read_from]
    kind, name = KINDS[step], TITLES[KINDS[step].folder]
    originals = usable(found)
    folder = prepared / kind.folder
    shards = CopyShards.read(folder)
    copy_of, parts = {}, {}
    for path in originals:
        copy_of[path] = copy = kind.target(prepared, source.root, path)
        if (part := shards.find(copy)) and not copy.is_file():
            copy_of[path] = shards.path(copy)
            parts[copy_of[path]] = part
    present = sorted(copy for copy in copy_of.values() if copy in parts or copy.is_file())
    if not present:
        remedy = f"run dsn-prepare steps=[check,{step}], or set dataset.reading.prepared=DIR to their folder"
        raise UsageError(f"dataset={source.name}: no {name} in {prepared}; {remedy}")
    prober = CopyProber({copy_of[path]: info for path, info in originals.items()}, parts)
    infos = index_videos(present, folder, root=folder, decoder=prober, num_threads=os.cpu_count() or 1, show=False)
    settings = sorted({info.made_with for info in usable(infos).values()})
    if len(settings) > 1:
        remedy = f"run dsn-prepare steps=[check,{step}] again, to its end"
        raise UsageError(f"{folder}: copies with different settings ({'; '.join(settings)}); {remedy}")
    absent = f"no such file; run dsn-prepare steps=[check,{step}] again"
    copies: Copies = {}
    for path, copy in copy_of.items():
        info = infos.get(copy, VideoError(copy, absent))
        copies[path] = (copy, replace(info, part=parts.get(copy)) if isinstance(info, VideoInfo) else info)
    return copies, settings[0] if settings else None


def _check_size_of_frames(copies: Copies, found: Found, scaled_size: ScaledSize) -> None:
    """Refuse frames that were stored at another size than training scales them to."""
    for path, info in usable(found).items():
        copy, copied = copies.get(path, (path, info))
        wanted = scaled_size(info.height, info.width)
        if isinstance(copied, VideoInfo) and (copied.height, copied.width) != wanted:
            raise UsageError(
                f"{copy}: has {copied.width}x{copied.height} pixels, and {wanted[1]}x{wanted[0]} are wanted; run "
                "dsn-prepare steps=[check,frames] with the frames.size and frames.resize of the training's "
                "backbone.frame_size and dataset.reading.resize"
            )


def _check_size_of_copies(copies: Copies, found: Found, scaled_size: ScaledSize) -> None:
    """Refuse copies that would be scaled up although the originals are larger; sides may be rounded to even numbers."""
    for path, info in usable(found).items():
        short_side = min(scaled_size(info.height, info.width))
        copy, copied = copies.get(path, (path, info))
        if isinstance(copied, VideoInfo):
            side = min(copied.height, copied.width)
            if side + 2 < min(short_side, info.height, info.width):
                raise UsageError(
                    f"{copy}: has {copied.width}x{copied.height} pixels, and a shorter side of {short_side} is wanted "
                    f"(backbone.frame_size); run dsn-prepare steps=[check,transcode] transcode.short_side={short_side}"
                )


def _place(record: VideoRecord, found: Found, copies: Copies, fps: float | None) -> Video:
    """Return a video whose file exists on its time line, or raise the `VideoError` of indexing it."""
    info = found[record.path]
    if isinstance(info, VideoError):
        raise info
    file, file_info = copies.get(record.path, (record.path, info))
    if isinstance(file_info, VideoError):
        raise file_info
    return place_on_time_line(record, info, fps, copy=(file, file_info))
