"""Makes the copies of a data set that are missing or out of date, several at a time."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.copies import estimate_bytes, is_current, remove_partial_files, write_copy
from dsn_lightning.prepare.copy_kinds import CopyKind
from dsn_lightning.prepare.worker_pool import run_each
from dsn_lightning.video.decoder import Decoder
from dsn_lightning.video.video_info import VideoInfo

Videos = Sequence[tuple[Path, VideoInfo]]

TITLES = {"small": "small copies", "flow": "flow"}
"""Folder of a kind of copies -> its name in messages."""


def make_copies(
    videos: Videos, root: Path, output: Path, *, decoder: Decoder, kind: CopyKind, jobs: int
) -> dict[str, Any]:
    """Make the copies that are missing or out of date, and report on all copies.

    Args:
        videos: the originals, with the result of indexing them.
        root: folder of the data set.
        output: folder of the copies.
        decoder: reads the originals.
        kind: kind of the copies.
        jobs: number of processes.

    Returns:
        ``settings``; ``copies`` and ``bytes`` that exist; ``failed`` (``video``, its path below the root, and
        ``reason``).

    Raises:
        UsageError: there is not enough disk space, found before the start or (`DiskFullError`) later.
    """
    targets = {path: kind.target(output, root, path) for path, _ in videos}
    stale = [(path, info) for path, info in videos if not is_current(targets[path], info, kind)]
    failed: dict[Path, str] = {}
    if stale:
        _check_disk_space(stale, len(videos), output, decoder=decoder, kind=kind)
        tasks = [(path, targets[path], info) for path, info in stale]
        work = partial(write_copy, decoder=decoder, kind=kind)
        try:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
                bar = progress.add_task(f"Making {TITLES[kind.folder]}", total=sum(i.num_frames for _, i in stale))
                videos_bar = progress.add_task("videos", total=len(stale))
                for number, failure in run_each(work, tasks, jobs=jobs):
                    path, info = stale[number]
                    if failure is not None:
                        failed[path] = failure
                        targets[path].unlink(missing_ok=True)  # an older copy would not match
                    progress.advance(bar, info.num_frames)
                    progress.advance(videos_bar)
        finally:
            remove_partial_files(output / kind.folder)
    copies = [target for path, target in targets.items() if path not in failed]
    return {
        "settings": kind.settings(),
        "copies": len(copies),
        "bytes": sum(copy.stat().st_size for copy in copies),
        "failed": [
            {"video": path.relative_to(root).as_posix(), "reason": reason} for path, reason in sorted(failed.items())
        ],
    }


def _check_disk_space(stale: Videos, num_videos: int, output: Path, *, decoder: Decoder, kind: CopyKind) -> None:
    """Announce the estimated size of the copies, and refuse it if it does not fit on the disk."""
    needed = estimate_bytes(stale, decoder=decoder, kind=kind)
    if needed is None:
        return
    free = shutil.disk_usage(output).free
    title = TITLES[kind.folder]
    announcement = f"{title}: {len(stale)} of {num_videos} to make, about {readable(needed)} ({readable(free)} free)"
    Console(stderr=True).print(announcement, soft_wrap=True, highlight=False)
    if needed > free:
        raise UsageError(
            f"output={output}: {title} need about {readable(needed)}, but {readable(free)} are free; free some space, "
            "or set output= to another disk"
        )


def readable(size: float) -> str:
    """Return a number of bytes with a unit.

    >>> readable(512), readable(21_400_000)
    ('512 B', '21.4 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
