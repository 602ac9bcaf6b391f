"""Makes the copies of a data set that are not there yet, several at a time."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.copies import estimate_bytes, is_current, remove_partial, write_copy
from dsn_lightning.prepare.copy_kinds import Kind
from dsn_lightning.prepare.worker_pool import run_each
from dsn_lightning.video.decoder import Decoder
from dsn_lightning.video.video_info import VideoInfo

Videos = Sequence[tuple[Path, VideoInfo]]

_NAMES = {"small": "small copies", "flow": "flow"}


def make_copies(videos: Videos, root: Path, output: Path, *, decoder: Decoder, kind: Kind, jobs: int) -> dict[str, Any]:
    """Make what is missing or out of date, and return the report of all.

    Args:
        videos: with what the check found.
        root: of the data set.
        output: folder of copies.
        decoder: reads the videos.
        kind: of copies.
        jobs: processes.

    Returns:
        ``settings``; ``copies`` and ``bytes`` that are there; ``failed`` (with ``reason``), by path below the root.

    Raises:
        UsageError: there is not enough room, found before the start or (`DiskFullError`) after.
    """
    places = {path: kind.place(output, root, path) for path, _ in videos}
    stale = [(path, info) for path, info in videos if not is_current(places[path], info, kind)]
    failed: dict[Path, str] = {}
    if stale:
        _check_room(stale, len(videos), output, decoder=decoder, kind=kind)
        tasks = [(path, places[path], info) for path, info in stale]
        work = partial(write_copy, decoder=decoder, kind=kind)
        try:
            with _progress() as progress:
                bar = progress.add_task(f"Making {_NAMES[kind.folder]}", total=sum(i.num_frames for _, i in stale))
                videos_bar = progress.add_task("videos", total=len(stale))
                for number, failure in run_each(work, tasks, jobs=jobs):
                    path, info = stale[number]
                    if failure is not None:
                        failed[path] = failure
                        places[path].unlink(missing_ok=True)  # an older one would not fit
                    progress.advance(bar, info.num_frames)
                    progress.advance(videos_bar)
        finally:
            remove_partial(output / kind.folder)
    there = [place for path, place in places.items() if path not in failed]
    return {
        "settings": kind.settings(),
        "copies": len(there),
        "bytes": sum(place.stat().st_size for place in there),
        "failed": [
            {"video": path.relative_to(root).as_posix(), "reason": reason} for path, reason in sorted(failed.items())
        ],
    }


def _check_room(stale: Videos, num_videos: int, output: Path, *, decoder: Decoder, kind: Kind) -> None:
    needed = estimate_bytes(stale, decoder=decoder, kind=kind)
    if needed is None:
        return
    free = shutil.disk_usage(output).free
    name = _NAMES[kind.folder]
    announcement = f"{name}: {len(stale)} of {num_videos} to make, about {readable(needed)} ({readable(free)} free)"
    Console(stderr=True).print(announcement, soft_wrap=True, highlight=False)
    if needed > free:
        raise UsageError(
            f"output={output}: {name} need about {readable(needed)}, and {readable(free)} are free; make room, or give "
            "output= on another disk"
        )


def readable(size: float) -> str:
    """Return a number of bytes in words.

    >>> readable(512), readable(21_400_000)
    ('512 B', '21.4 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _progress() -> Progress:
    """Frames measure the work, and so the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
