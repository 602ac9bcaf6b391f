"""Copies of a data set's videos that are quick to read: small ones, and their optical flow.

A copy has the original's number of frames, in its order and upright. It carries in its own metadata what it was made
from and how, so it can be told whether it still fits; there is no second file that could disagree. It is written under
a hidden name beside its place and moved there when it is whole and on disk.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import av
import av.codec.context
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from dsn_lightning.prepare.copy_kinds import Flow, Kind, Small, origin, rate_of
from dsn_lightning.video.decoder import Decoder
from dsn_lightning.video.video_info import VideoError, VideoInfo, pack

_PARTIAL = ".partial"
_SAMPLE_FRAMES = 32
_HEADER_BYTES = 2000  # of a file, about


def small_copy(prepared: Path, root: Path, path: Path) -> Path:
    """Return where the small copy of ``path`` stands, whether it is there or not.

    Args:
        prepared: the folder that `dsn-prepare` writes.
        root: of the data set.
        path: a video below the root.
    """
    return Small.place(prepared, root, path)


def flow_copy(prepared: Path, root: Path, path: Path) -> Path:
    """Return where the flow of ``path`` stands, whether it is there or not; see `small_copy`."""
    return Flow.place(prepared, root, path)


def write_small_copy(path: Path, target: Path, info: VideoInfo, *, decoder: Decoder, small: Small) -> None:
    """Write the small copy of ``path``; see `write_copy`."""
    write_copy(path, target, info, decoder=decoder, kind=small)


def write_flow(path: Path, target: Path, info: VideoInfo, *, decoder: Decoder, flow: Flow) -> None:
    """Write the optical flow of ``path``; see `write_copy`."""
    write_copy(path, target, info, decoder=decoder, kind=flow)


def write_copy(path: Path, target: Path, info: VideoInfo, *, decoder: Decoder, kind: Kind) -> None:
    """Write the copy of a video; the same bytes each time.

    Args:
        path: the video.
        target: the copy; its folder is made.
        info: what `Decoder.probe` found in the video.
        decoder: reads the video.
        kind: what to write.

    Raises:
        VideoError: the video cannot be decoded, or is no longer as ``info`` says.
        OSError: it cannot be written; nothing is left behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as file:
        written = _encode(file, kind.pictures(decoder.frames(path, kind.frame_size(info))), kind, info)
        if written != info.num_frames:
            raise VideoError(path, f"gave {written} frames where there had been {info.num_frames}; has it changed?")


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Give a file to write that takes the place of ``target`` when all went well and is gone otherwise."""
    partial = target.with_name(f".{target.name}{_PARTIAL}")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def remove_partial(folder: Path) -> None:
    """Remove what killed processes have left below ``folder``, where none is at work now."""
    for partial in folder.rglob(f".*{_PARTIAL}"):
        partial.unlink(missing_ok=True)


def is_current(copy: Path, info: VideoInfo, kind: Kind) -> bool:
    """Whether a copy is there that was made with these settings from a video of this content."""
    try:
        with av.open(str(copy)) as container:
            return _label(container) == kind.label(info)
    except (av.FFmpegError, OSError):
        return False


def _label(container: InputContainer) -> str:
    tags = {name.lower(): value for name, value in container.metadata.items()}
    return tags.get("comment", "")


class CopyProber:
    """Looks at copies without decoding them, so that an index can hold what they are.

    Args:
        originals: what is known of the video that each copy was made of.
    """

    def __init__(self, originals: Mapping[Path, VideoInfo]) -> None:
        self.originals = originals

    def find(self, path: Path) -> Path:
        """Return the path as it is."""
        return path

    def mark(self, path: Path) -> list[Any]:
        """Return the original's content, and the copy's size and date."""
        status = path.stat()
        return ["copy", origin(self.originals[path]), status.st_size, status.st_mtime_ns]

    def probe(self, path: Path) -> VideoInfo:
        """Return what the copy holds; see `copy_info`."""
        return copy_info(path, self.originals[path])


def copy_info(copy: Path, info: VideoInfo) -> VideoInfo:
    """Return what `PyAV.probe` would find in a copy, but for the hash of its content, without decoding it.

    Args:
        copy: of a video.
        info: of that video.

    Raises:
        VideoError: the copy is missing or damaged, or was made when the video was another.
    """
    try:
        with av.open(str(copy)) as container:
            stream = container.streams.video[0]
            packets = [packet for packet in container.demux(stream) if packet.size]
            stamps = [packet.pts for packet in packets if packet.pts is not None]
            keys = [i for i, packet in enumerate(packets) if packet.is_keyframe]
            height, width, codec = stream.height, stream.width, stream.codec_context.name
            base = stream.time_base or Fraction(1)
            label = _label(container)
    except (av.FFmpegError, OSError, IndexError) as error:
        raise VideoError(copy, "is no copy that can be read; call dsn-prepare again") from error
    if not label.endswith(f" of {origin(info)}"):
        raise VideoError(copy, "was made before its original changed; call dsn-prepare again")
    if len(stamps) != info.num_frames:
        raise VideoError(copy, f"has {len(stamps)} frames, the original {info.num_frames}; call dsn-prepare again")
    return replace(
        info, width=width, height=height, header_frames=None, codec=codec, digest="", damage=(), open_groups=False,
        made=label.rpartition(" of ")[0],
        stamps=pack(stamps), time_base=(base.numerator, base.denominator), key_frames=pack(keys),
    )  # fmt: skip


def estimate_bytes(
    videos: Sequence[tuple[Path, VideoInfo]], *, decoder: Decoder, kind: Kind, num_samples: int = 6
) -> int | None:
    """Return about how many bytes the copies of ``videos`` take, with a tenth in reserve.

    Made from a few frames out of the middle of a few of them; None where none of those few can be copied.
    """
    chosen = [videos[i] for i in np.unique(np.linspace(0, len(videos) - 1, min(num_samples, len(videos))).astype(int))]
    size = pixels = 0
    for path, info in chosen:
        count = min(_SAMPLE_FRAMES, info.num_frames)
        start = (info.num_frames - count) // 2
        buffer = BytesIO()
        try:
            frames = decoder.read(path, range(start, start + count), kind.frame_size(info), info)
            _encode(buffer, kind.pictures(frames), kind, replace(info, num_frames=count, stamps=""))
        except (VideoError, av.FFmpegError):
            continue  # it will be reported when its turn comes
        size += max(0, len(buffer.getvalue()) - _HEADER_BYTES)
        pixels += count * int(np.prod(kind.frame_size(info)))
    if not pixels:
        return None
    total = sum(info.num_frames * int(np.prod(kind.frame_size(info))) for _, info in videos)
    return round(1.1 * total * size / pixels) + _HEADER_BYTES * len(videos)


def _encode(file: IO[bytes], pictures: Iterable[NDArray[np.uint8]], kind: Kind, info: VideoInfo) -> int:
    """Encode pictures into ``file`` and return how many came; more than ``info`` knows of are left out."""
    stamps, unit = kind.stamps(info)
    last = max(1, round(1 / rate_of(info) / unit))
    durations = np.append(np.diff(stamps), stamps[-1] - stamps[-2] if len(stamps) > 1 else last)
    lasting = dict(zip(stamps.tolist(), durations.tolist(), strict=True))
    count = 0
    yuv = kind.pixels == "yuv420p"
    bitexact = {"fflags": "+bitexact"}  # no random identifiers, no versions
    with av.open(file, "w", format=kind.container, options=bitexact) as container:
        container.metadata["comment"] = kind.label(info)
        stream = container.add_stream(kind.codec, rate=rate_of(info), options=kind.options())
        assert isinstance(stream.codec_context, VideoCodecContext)
        stream.height, stream.width = kind.frame_size(info)
        stream.pix_fmt = kind.pixels
        stream.time_base = stream.codec_context.time_base = unit
        stream.codec_context.thread_count = 1  # libx264's output depends on it
        stream.codec_context.flags |= av.codec.context.Flags.bitexact.value
        if yuv:
            stream.codec_context.colorspace, stream.codec_context.color_range = 6, 1  # BT.601, 16 to 235

        def mux(packets: Iterable[Packet]) -> None:
            for packet in packets:
                packet.duration = lasting[packet.pts]
                container.mux(packet)

        convert = VideoReformatter()
        for picture in pictures:
            if count < len(stamps):
                frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame = convert.reformat(
                    frame, format=kind.pixels, dst_colorspace=Colorspace.ITU601 if yuv else None,
                    dst_color_range=ColorRange.MPEG if yuv else None, threads=1,
                )  # fmt: skip
                frame.pts, frame.time_base = int(stamps[count]), unit
                mux(stream.encode(frame))
            count += 1
        mux(stream.encode(None))
    return count
