"""Copies of a data set's videos that are quick to read: small copies, frames as JPEG, and optical flow.

A copy has as many frames as the original, in the same order and upright. Its metadata say what it was made from and
with which settings, which shows whether it is still current; no second file could disagree. It is written to a hidden
file beside its target, and renamed when it is complete and on disk.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.copy_encoders import CopyEncoder, FFmpegEncoder, JpegEncoder
from dsn_lightning.prepare.copy_kinds import CopyKind, FrameCopy, content_hash, frame_rate
from dsn_lightning.prepare.copy_shards import CopyShards
from dsn_lightning.prepare.partial_files import remove_partial_files, replacing
from dsn_lightning.prepare.worker_pool import run_each
from dsn_lightning.text_tables import PrintableConsole
from dsn_lightning.video.decoder import Decoder
from dsn_lightning.video.file_part import FilePart
from dsn_lightning.video.pyav_decoder import ONLY_THIS_FILE
from dsn_lightning.video.video_info import VideoError, VideoInfo, pack

_SAMPLE_FRAMES = 32
_HEADER_BYTES = 2000  # approximate size of a file's header

Videos = Sequence[tuple[Path, VideoInfo]]

TITLES = {"small": "small copies", "jpeg": "frames", "flow": "flow"}
"""Folder of a kind of copies -> its name in messages."""


def make_copies(
    videos: Videos,
    root: Path,
    output: Path,
    *,
    decoder: Decoder,
    kind: CopyKind,
    jobs: int,
    shard_size: int | None = None,
) -> dict[str, Any]:
    """Make the copies below ``output`` that are missing or out of date, in ``jobs`` processes.

    With ``shard_size`` the single files are packed into shards of at most this many bytes; copies in shards stay there.

    Returns:
        ``settings``; ``copies``, ``bytes`` and ``shards`` that exist; ``failed`` (``video``, its path below the root;
        ``reason``).

    Raises:
        UsageError: there is not enough disk space, found before the start or (`DiskFullError`) later.
    """
    targets = {path: kind.target(output, root, path) for path, _ in videos}
    shards = CopyShards.recover(output / kind.folder)
    parts = {path: shards.find(target) for path, target in targets.items()}
    packed = {path for path, info in videos if parts[path] and is_current(targets[path], info, kind, parts[path])}
    for path in packed:
        targets[path].unlink(missing_ok=True)
    single = [(path, info) for path, info in videos if path not in packed]
    stale = [(path, info) for path, info in single if not is_current(targets[path], info, kind)]
    failed: dict[Path, str] = {}
    if stale:
        _check_disk_space(stale, len(videos), output, decoder=decoder, kind=kind, jobs=jobs, shard_size=shard_size or 0)
        try:
            failed = _write_copies(stale, targets, decoder=decoder, kind=kind, jobs=jobs)
        finally:
            remove_partial_files(output / kind.folder)
    singles = [targets[path] for path, _ in single if path not in failed]
    num_bytes = sum(part.size for path in packed if (part := parts[path])) + sum(f.stat().st_size for f in singles)
    packing = shards.plan(singles, [targets[path] for path, _ in single], shard_size)
    free = shutil.disk_usage(output).free
    if packing.extra_bytes > free:
        sizes = f"about {readable(packing.extra_bytes)} for a while, but {readable(free)} are free"
        remedy = "free some space and run again to continue, or set frames.shard_size=null"
        raise UsageError(f"output={output}: packing {TITLES[kind.folder]} needs {sizes}; {remedy}")
    shards.pack(packing)
    return {
        "settings": kind.settings(),
        "copies": len(packed) + len(singles),
        "bytes": num_bytes,
        "shards": len(shards.shards),
        "failed": [
            {"video": path.relative_to(root).as_posix(), "reason": reason} for path, reason in sorted(failed.items())
        ],
    }


def _write_copies(
    stale: Videos, targets: Mapping[Path, Path], *, decoder: Decoder, kind: CopyKind, jobs: int
) -> dict[Path, str]:
    """Write the copies of videos, and return the reasons why some could not be written, by path."""
    failed: dict[Path, str] = {}
    tasks = [(path, targets[path], info) for path, info in stale]
    work = partial(write_copy, decoder=decoder, kind=kind)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=PrintableConsole(stderr=True)) as progress:
        bar = progress.add_task(f"Making {TITLES[kind.folder]}", total=sum(i.num_frames for _, i in stale))
        videos_bar = progress.add_task("videos", total=len(stale))
        for number, failure in run_each(work, tasks, jobs=jobs):
            path, info = stale[number]
            if failure is not None:
                failed[path] = failure
                targets[path].unlink(missing_ok=True)  # an older copy would not match
            progress.advance(bar, info.num_frames)
            progress.advance(videos_bar)
    return failed


def _check_disk_space(
    stale: Videos, num_videos: int, output: Path, *, decoder: Decoder, kind: CopyKind, jobs: int, shard_size: int
) -> None:
    """Announce the estimated size of the copies and the time, and refuse a size that does not fit on the disk."""
    needs = estimate(stale, decoder=decoder, kind=kind)
    if needs is None:
        return
    free, title = shutil.disk_usage(output).free, TITLES[kind.folder]
    packing = min(shard_size, needs.bytes)
    a_frame = readable(needs.bytes / sum(info.num_frames for _, info in stale))
    for_a_while = f" and {readable(packing)} for a while to pack them" if packing else ""
    announcement = (
        f"{title}: {len(stale)} of {num_videos} to make, about {readable(needs.bytes)}{for_a_while} "
        f"({readable(free)} free), {a_frame} a frame; about {_time_text(needs.seconds / jobs)} in {jobs} processes"
    )
    PrintableConsole(stderr=True).print(announcement, soft_wrap=True, highlight=False)
    if needs.bytes + packing > free:
        sizes = f"about {readable(needs.bytes)}{for_a_while}, but {readable(free)} are free"
        raise UsageError(f"output={output}: {title} need {sizes}; free some space, or set output= to another disk")


def _time_text(seconds: float) -> str:
    """Return a time in a unit that suits it.

    >>> _time_text(40), _time_text(900), _time_text(36000)
    ('40 s', '15 min', '10.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


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


def write_copy(path: Path, target: Path, info: VideoInfo, *, decoder: Decoder, kind: CopyKind) -> None:
    """Write the copy of a video with the result ``info`` of `Decoder.probe`; the same bytes each time.

    Raises:
        VideoError: the video cannot be decoded, or has changed since it was probed.
        OSError: the copy cannot be written; nothing is left behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as file:
        written = _encode(file, kind.pictures(decoder.frames(path, kind.frame_size(info))), kind, info)
        if written != info.num_frames:
            raise VideoError(path, f"expected {info.num_frames} frames, got {written}; has it changed?")


def is_current(copy: Path, info: VideoInfo, kind: CopyKind, part: FilePart | None = None) -> bool:
    """Whether a copy exists that was made with these settings from a video with this content.

    ``part`` is where it lies if it is packed; ``copy`` is then only a name.
    """
    if not (copy if part is None else part.file).is_file():
        return False
    try:
        with _opened(copy, part) as container:
            return _label(container) == kind.label(info)
    except (av.FFmpegError, OSError):
        return False


@contextmanager
def _opened(copy: Path, part: FilePart | None) -> Iterator[InputContainer]:
    with ExitStack() as opened:
        source: Any = str(copy) if part is None else opened.enter_context(part.open())
        yield opened.enter_context(av.open(source, options=ONLY_THIS_FILE, metadata_errors="replace"))


def _label(container: InputContainer) -> str:
    return {name.lower(): value for name, value in container.metadata.items()}.get("comment", "")


@dataclass(frozen=True)
class CopyProber:
    """Probes copies without decoding them, for an index of copies."""

    originals: Mapping[Path, VideoInfo]  # copy -> the result of indexing the video that it was made from
    parts: Mapping[Path, FilePart]  # copy -> where it lies, if it is packed

    def fingerprint(self, path: Path) -> list[Any]:
        """Return a hash of the original's content, and the size and modification time of the file that is read."""
        part, content = self.parts.get(path), content_hash(self.originals[path])
        status = (path if part is None else part.file).stat()
        place = content if part is None else f"{content} {part.start} {part.size}"
        return ["copy", place, status.st_size, status.st_mtime_ns]

    def probe(self, path: Path) -> VideoInfo:
        """Return what the copy contains; see `copy_info`."""
        return copy_info(path, self.originals[path], self.parts.get(path))


def copy_info(copy: Path, info: VideoInfo, part: FilePart | None = None) -> VideoInfo:
    """Return what `PyAV.probe` would find in a copy of a video, except the hash of its content, without decoding it.

    ``part`` is where the copy lies if it is packed; ``copy`` is then only a name.

    Raises:
        VideoError: the copy is missing or damaged, or the original has changed since it was made.
    """
    try:
        with _opened(copy, part) as container:
            stream = container.streams.video[0]
            packets = [packet for packet in container.demux(stream) if packet.size]
            stamps = [packet.pts for packet in packets if packet.pts is not None]
            keys = [i for i, packet in enumerate(packets) if packet.is_keyframe]
            height, width, codec = stream.height, stream.width, stream.codec_context.name
            base = stream.time_base or Fraction(1)
            label, demuxer = _label(container), container.format.name
    except (av.FFmpegError, OSError, IndexError, AttributeError) as error:  # AttributeError: a codec without a decoder
        raise VideoError(copy, "is not a readable copy; run dsn-prepare again") from error
    if not label.endswith(f" of {content_hash(info)}"):
        raise VideoError(copy, "was made before its original changed; run dsn-prepare again")
    if len(stamps) != info.num_frames:
        raise VideoError(copy, f"expected {info.num_frames} frames, got {len(stamps)}; run dsn-prepare again")
    return replace(
        info,
        width=width,
        height=height,
        header_frames=None,
        codec=codec,
        digest="",
        damage=(),
        remarks=(),
        stamps=pack(stamps),
        time_base=(base.numerator, base.denominator),
        key_frames=pack(keys),
        open_groups=False,
        container=demuxer,
        stream=0,
        mirrored=False,
        part=part,
        made_with=label.rpartition(" of ")[0],
    )


class CopyNeeds(NamedTuple):
    """What copies need."""

    bytes: int
    seconds: float  # of one processor core


def estimate(videos: Videos, *, decoder: Decoder, kind: CopyKind, num_samples: int = 6) -> CopyNeeds | None:
    """Estimate what copies need from some of their frames; None if no video can be copied.

    The bytes, plus a tenth, are those of frames in the middle, and the time is that of the first frames.
    """
    chosen = [videos[i] for i in np.unique(np.linspace(0, len(videos) - 1, min(num_samples, len(videos))).astype(int))]
    size = pixels = timed = 0
    seconds = 0.0
    for path, info in chosen:
        count = min(_SAMPLE_FRAMES, info.num_frames)
        start, sample = (info.num_frames - count) // 2, replace(info, num_frames=count, stamps="")
        frame_size, buffer = kind.frame_size(info), BytesIO()
        try:
            began = time.perf_counter()
            _encode(BytesIO(), kind.pictures(islice(decoder.frames(path, frame_size), count)), kind, sample)
            seconds, timed = seconds + time.perf_counter() - began, timed + count
            frames = decoder.read(path, range(start, start + count), frame_size, info)
            _encode(buffer, kind.pictures(frames), kind, sample)
        except (VideoError, av.FFmpegError):
            continue  # reported later, when the video is copied
        size += max(0, len(buffer.getvalue()) - _HEADER_BYTES)
        pixels += count * int(np.prod(frame_size))
    if not pixels:
        return None
    total = sum(info.num_frames * int(np.prod(kind.frame_size(info))) for _, info in videos)
    num_bytes = round(1.1 * total * size / pixels) + _HEADER_BYTES * len(videos)
    return CopyNeeds(num_bytes, sum(info.num_frames for _, info in videos) * seconds / timed)


def _encode(file: IO[bytes], pictures: Iterable[NDArray[np.uint8]], kind: CopyKind, info: VideoInfo) -> int:
    """Encode pictures into ``file`` and return their number; those beyond the frames of ``info`` are left out."""
    stamps, unit = kind.stamps(info)
    last = max(1, round(1 / frame_rate(info) / unit))
    durations = np.append(np.diff(stamps), stamps[-1] - stamps[-2] if len(stamps) > 1 else last)
    duration_at = dict(zip(stamps.tolist(), durations.tolist(), strict=True))
    count = 0
    bitexact = {"fflags": "+bitexact"}  # no random identifiers, no version numbers
    with av.open(file, "w", format=kind.container, options=bitexact) as container:
        container.metadata["comment"] = kind.label(info)
        encoder: CopyEncoder = (
            JpegEncoder(container, kind, info, unit)
            if isinstance(kind, FrameCopy)
            else FFmpegEncoder(container, kind, info, unit)
        )

        def mux(packets: Iterable[Packet]) -> None:
            for packet in packets:
                packet.duration = duration_at[packet.pts]
                container.mux(packet)

        for picture in pictures:
            if count < len(stamps):
                mux(encoder.packets(picture, int(stamps[count])))
            count += 1
        mux(encoder.rest())
    return count
