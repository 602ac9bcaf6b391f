"""The work of dsn-prepare: check a data set, make copies of its videos that are quick to read, extract optical flow."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dsn_lightning.datasets.records import SUBSETS, VideoSource
from dsn_lightning.errors import UsageError
from dsn_lightning.files import refuse_link
from dsn_lightning.prepare.copies import make_copies
from dsn_lightning.prepare.copy_kinds import KINDS, CopyKind, FlowCopy, FrameCopy
from dsn_lightning.prepare.dataset_report import Records, dataset_report
from dsn_lightning.prepare.optical_flow import check_opencv
from dsn_lightning.prepare.partial_files import remove_partial_files, replacing
from dsn_lightning.prepare.video_index import index_videos, prepared_folder, refuse_flagged, usable
from dsn_lightning.prepare.worker_pool import DiskFullError, disk_is_full
from dsn_lightning.video.decoder import Decoder, is_present

REPORT = "prepare_report.json"


def prepare_dataset(
    source: VideoSource,
    kinds: Sequence[CopyKind],
    *,
    decoder: Decoder,
    copy_decoder: Decoder,
    output: Path | None = None,
    jobs: int | None = None,
    refuse_damage: bool = False,
    shard_size: int | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Index every video, make copies, and write ``prepare_report.json`` and ``index.json`` to the output folder.

    Args:
        source, kinds: the data set, and the kinds of copies to make, in their order.
        decoder: indexes the videos.
        copy_decoder: reads videos to copy them; without a deadline, since extracting flow takes time between frames.
        output: the folder to write to; None for the data set's default folder.
        jobs: videos processed at the same time; None: one per core.
        refuse_damage: whether files in which FFmpeg reported damage count as bad although no frame is missing.
        shard_size: bytes of a shard that stored frames are packed into, at most; None: they stay single files.

    Returns:
        The file of the report, and the report.

    Raises:
        UsageError: the output could overwrite a video, or the disk is full.
    """
    if any(isinstance(kind, FlowCopy) for kind in kinds):
        check_opencv()
    source.prepare()
    records: Records = {subset: source.records(subset) for subset in SUBSETS}
    output = prepared_folder(source, output)
    check_output(output, source, records)
    jobs = jobs or (len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)
    with _naming_disk_errors(output), _locked(output):
        for kind_of_copy in KINDS.values():
            remove_partial_files(output / kind_of_copy.folder)
        paths = dict.fromkeys(record.path for subset in SUBSETS for record in records[subset])
        present = [path for path in paths if is_present(path, decoder)]
        found = index_videos(present, output, root=source.root, decoder=decoder, num_threads=jobs)
        found = refuse_flagged(found) if refuse_damage else found
        report = dataset_report(source.name, source.classes, records, found)
        _write(output / REPORT, report)
        videos = list(usable(found).items())
        for kind in kinds:
            size = shard_size if isinstance(kind, FrameCopy) else None
            options: dict[str, Any] = {"decoder": copy_decoder, "jobs": jobs, "shard_size": size}
            report[kind.folder] = make_copies(videos, source.root, output, kind=kind, **options)
        if kinds:
            _write(output / REPORT, report)
    return output / REPORT, report


def check_output(output: Path, source: VideoSource, records: Records) -> None:
    """Refuse an output folder in which copies and videos would mix.

    These are the data set's root, a folder with videos where copies would go, and any folder at or below that of a
    video or the one that all videos have in common, unless this contains the home folder: two disks only share ``/``.
    """
    folders = {record.path.parent for subset in SUBSETS for record in records[subset]}
    if not folders:
        raise UsageError(f"dataset={source.name}: has no videos")
    place, root = output.resolve(), source.root.resolve()
    common, home = Path(os.path.commonpath(folders)).resolve(), Path(os.path.expanduser("~")).resolve()
    resolved = sorted({folder.resolve() for folder in folders})
    several_disks = home.is_relative_to(common) or common == Path(common.anchor)
    among = [root] if place == root else []
    among += [folder for folder in (resolved if several_disks else [*resolved, common]) if place.is_relative_to(folder)]
    if among:
        raise UsageError(f"output={output}: is among the videos ({among[0]}); choose a separate folder")
    among = [f for kind in KINDS.values() for f in resolved if f.is_relative_to(place / kind.folder)]
    if among:
        raise UsageError(f"output={output}: copies would go where videos are ({among[0]}); choose another folder")


def strict_failures(report: dict[str, Any]) -> list[str]:
    """Return the findings of a report that ``strict=true`` does not accept, with their counts."""
    leakage = report["leakage"]
    counts = {
        "missing": report["totals"]["missing"],
        "bad": report["totals"]["bad"],
        "without a copy": sum(len(report[k.folder]["failed"]) for k in KINDS.values() if k.folder in report),
        "groups in several subsets": len(leakage["groups"]),
        "contents in several subsets": len(leakage["identical"]),
    }
    return [f"{count} {finding}" for finding, count in counts.items() if count]


@contextmanager
def _naming_disk_errors(output: Path) -> Iterator[None]:
    """Turn the errors of writing to ``output`` into one line with the remedy."""
    try:
        yield
    except (DiskFullError, OSError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        if isinstance(error, OSError) and not disk_is_full(error):
            raise UsageError(f"output={output}: cannot be written ({reason})") from error
        remedy = "finished files are kept; free some space or set output= to another disk, and run again"
        raise UsageError(f"output={output}: the disk is full ({reason}); {remedy}") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep the folder locked: only one dsn-prepare works in it."""
    folder.mkdir(parents=True, exist_ok=True)
    refuse_link(folder / ".prepare.lock")
    try:
        lock = FileLock(folder / ".prepare.lock").acquire(timeout=3)  # a killed process may take a moment to end
    except Timeout:
        raise UsageError(f"output={folder}: another dsn-prepare is working in this folder") from None
    with lock:
        yield


def _write(path: Path, report: dict[str, Any]) -> None:
    with replacing(path) as file:
        file.write((json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
