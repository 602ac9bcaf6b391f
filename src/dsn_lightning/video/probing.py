"""What decoding a video file from start to end finds out, and whether frames are missing.

FFmpeg's messages alone do not tell: a chapter list that refers to nothing and a lost cluster are both "errors". So a
message counts as a loss only if the video stream shows one: a gap in its time stamps, an end before the one that the
container announces, or a packet that is incomplete. Other messages are remarks.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from dsn_lightning.video.display import displayed_size, orientation_of
from dsn_lightning.video.sections import IntArray
from dsn_lightning.video.video_info import VideoError, VideoInfo, pack

Report = tuple[int, str, str]
"""A message of FFmpeg: level, component, text."""

_MOV = "mov,mp4,m4a,3gp,3g2,mj2"
_TRANSPORT = ("mpegts", "mpeg")  # streams without an index, in which packets are marked at joints, too
_CONSTANT = 0.9  # share of equal steps between packets from which a stream has a constant rate


@dataclass
class Probe:
    """Collects what a file's packets and frames say."""

    path: Path
    container: InputContainer
    stream: VideoStream
    reports: Sequence[Report]
    stamps: list[int | None] = field(default_factory=list)
    key_frames: list[int] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    mirrored: bool = False
    needs_first_packet: bool = False
    open_groups: bool = False

    def read(self, packets: Iterable[tuple[Packet, list[VideoFrame]]]) -> VideoInfo:
        """Take all packets with the frames that they complete, and return what the file contains.

        Raises:
            VideoError: there are no frames, or some are missing.
        """
        digest = hashlib.blake2b(digest_size=16)
        num_packets = num_incomplete = num_reports = num_at_end = 0
        key = -math.inf
        for packet, frames in packets:
            if packet.size:  # the last packet is empty and flushes the decoder
                num_reports, num_at_end = len(self.reports), len(self.reports) - num_reports
                num_packets, num_incomplete = num_packets + 1, num_incomplete + packet.is_corrupt
                shown = math.inf if packet.pts is None else packet.pts
                key = shown if packet.is_keyframe else key
                self.open_groups = self.open_groups or shown < key
            digest.update(packet)
            for frame in frames:
                self._take(frame)
        if not self.stamps:
            raise VideoError(self.path, "no video frames")
        if num_at_end:
            raise VideoError(self.path, f"is truncated, or damaged at its end ({messages(self.reports[-1:])[0]})")
        info = self._info(digest.hexdigest(), num_incomplete)
        if loss := self._loss(info, num_packets, num_incomplete):
            raise VideoError(self.path, loss)
        return info

    def _take(self, frame: VideoFrame) -> None:
        if not self.stamps:
            self.size = displayed_size(frame)
            self.mirrored = sum(orientation_of(frame)) % 2 == 1  # not a rotation
        # a palette comes with the first packet, and not with the one after a seek
        self.needs_first_packet = self.needs_first_packet or frame.format.name == "pal8"
        if frame.key_frame and frame.pict_type == PictureType.I:
            self.key_frames.append(len(self.stamps))
        self.stamps.append(frame.pts)

    def _info(self, digest: str, num_incomplete: int) -> VideoInfo:
        """Return what the packets and frames said."""
        stream, demuxer = self.stream, self.container.format.name
        base = stream.time_base or Fraction(1, 25)
        known = np.asarray([s for s in self.stamps if s is not None], np.int64)
        increasing = len(known) == len(self.stamps) and bool((np.diff(known) > 0).all())
        can_seek = increasing and not self.needs_first_packet
        damage = [report for report in self.reports if report[1] not in ("", demuxer)]
        remarks = messages([report for report in self.reports if report[1] in ("", demuxer)])
        if num_incomplete:
            remarks = (*remarks, f"{demuxer}: {num_incomplete} packets marked as incomplete")
        if len(self.stamps) == 1:
            remarks = (*remarks, f"{demuxer}: a still picture")
        return VideoInfo(
            num_frames=len(self.stamps),
            fps=self._rate(known, base, increasing=increasing),
            height=self.size[0],
            width=self.size[1],
            header_frames=stream.frames or None,
            codec=stream.codec_context.name,
            digest=digest,
            damage=messages(damage)[:3],
            remarks=remarks[:3],
            stamps=pack(known.tolist()) if increasing else "",
            time_base=(base.numerator, base.denominator),
            key_frames=pack(self.key_frames) if can_seek else "",
            open_groups=self.open_groups,
            container=demuxer,
            stream=stream.index,
            mirrored=self.mirrored,
        )

    def _rate(self, known: IntArray, base: Fraction, *, increasing: bool) -> float:
        """Return frames per second: the mean if the time stamps increase, or what most of their steps say."""
        if increasing and len(known) > 1:
            return (len(known) - 1) / float((known[-1] - known[0]) * base)
        if len(steps := np.diff(np.unique(known))):  # AVI stores decoding times, which B-frames permute
            return 1 / (float(np.median(steps)) * float(base))
        return float(self.stream.average_rate or self.stream.guessed_rate or 25)

    def _loss(self, info: VideoInfo, num_packets: int, num_incomplete: int) -> str:
        """Return what says that frames are missing or misplaced; empty if none are."""
        demuxer = info.container
        if num_incomplete and demuxer not in _TRANSPORT:
            return f"is truncated: {num_incomplete} incomplete packets"
        if demuxer == _MOV and num_packets < self.stream.frames and _is_cut(self.path, demuxer):
            return f"is truncated: {num_packets} of {self.stream.frames} frames"
        if demuxer == "avi" and info.num_frames < self.stream.frames and _is_cut(self.path, demuxer):
            return f"is truncated: {info.num_frames} of {self.stream.frames} frames"
        reported = f" ({[*info.remarks, *info.damage][0]})" if info.remarks or info.damage else ""
        in_container = any(component in ("", demuxer) for _, component, _ in self.reports)
        in_picture = demuxer in _TRANSPORT and info.damage
        if demuxer == _MOV or not (num_incomplete or in_container or in_picture):
            return ""  # what MP4's tables list is either in the file or incomplete
        known = np.asarray([s for s in self.stamps if s is not None], np.int64)
        steps = np.diff(known)[np.diff(known) > 0]
        step = float(np.median(steps)) if len(steps) else 1.0
        if (np.abs(steps - step) <= max(1, step / 10)).mean() < _CONSTANT:
            return f"is damaged{reported}; its time stamps are irregular and do not show whether frames are missing"
        if (steps > 1.5 * step).any():
            return f"is damaged: frames are missing{reported}"
        missing = self._announced_end() - float((known[-1] + step) * (self.stream.time_base or 1))
        if missing > 1.5 * step * float(self.stream.time_base or 1):
            return f"is truncated: it ends {missing:.2f} s early{reported}"
        return ""

    def _announced_end(self) -> float:
        """Return the time in seconds at which the container says that the stream ends; -inf if it does not say."""
        tag = self.stream.metadata.get("DURATION", "")  # Matroska: 00:01:02.345000000
        base, start = self.stream.time_base or 1, float((self.stream.start_time or 0) * (self.stream.time_base or 1))
        if len(parts := tag.split(":")) == 3:
            return sum(float(part) * unit for part, unit in zip(parts, (3600, 60, 1), strict=True))
        if self.stream.duration:
            return start + float(self.stream.duration * base)
        return self.container.duration / 1e6 if self.container.duration else -math.inf


def messages(reports: Sequence[Report]) -> tuple[str, ...]:
    """Return each message once."""
    return tuple(dict.fromkeys(f"{component}: {message.strip()}" for _, component, message in reports))


def _is_cut(path: Path, demuxer: str) -> bool:
    """Whether an MP4 or AVI file is shorter than its outermost boxes say."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        if demuxer == "avi":
            return int.from_bytes(file.read(8)[4:], "little") + 8 > size
        end = 0
        while end < size:
            file.seek(end)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:], "big")
            if length < 8:  # 0: to the end of the file
                return False
            end += length
    return end > size
