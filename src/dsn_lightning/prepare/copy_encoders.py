"""Encoders of copies: pictures to packets of a container, with FFmpeg or as JPEG images."""

from fractions import Fraction
from typing import Any, Protocol

import av.codec.context
import numpy as np
import simplejpeg
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dsn_lightning.prepare.copy_kinds import CopyKind, FrameCopy, frame_rate
from dsn_lightning.video.video_info import VideoInfo


class CopyEncoder(Protocol):
    """Encodes pictures for a stream of a container, which it adds."""

    def packets(self, picture: NDArray[np.uint8], stamp: int) -> list[Packet]:
        """Return the packets that a picture, uint8 (H, W, 3), completes; ``stamp`` is its time in the stream's unit."""

    def rest(self) -> list[Packet]:
        """Return the packets that are left when all pictures have been given."""


class FFmpegEncoder:
    """Encodes with FFmpeg, as the kind of copy says; ``unit`` is that of the time stamps, in seconds."""

    def __init__(self, container: OutputContainer, kind: CopyKind, info: VideoInfo, unit: Fraction) -> None:
        stream = container.add_stream(kind.codec, rate=frame_rate(info), options=kind.options())
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        assert isinstance(context, VideoCodecContext)
        stream.height, stream.width = kind.frame_size(info)
        stream.pix_fmt = kind.pixels
        stream.time_base = context.time_base = unit
        context.thread_count = 1  # libx264's output depends on it
        context.flags |= av.codec.context.Flags.bitexact.value
        self._colours: dict[str, Any] = {}
        if kind.pixels == "yuv420p":
            context.colorspace, context.color_range = 6, 1  # BT.601, 16 to 235
            self._colours = {"dst_colorspace": Colorspace.ITU601, "dst_color_range": ColorRange.MPEG}
        self._stream, self._unit, self._pixels, self._convert = stream, unit, kind.pixels, VideoReformatter()

    def packets(self, picture: NDArray[np.uint8], stamp: int) -> list[Packet]:
        """Return the packets that the picture completes; see `CopyEncoder`."""
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = self._convert.reformat(frame, format=self._pixels, threads=1, **self._colours)
        frame.pts, frame.time_base = stamp, self._unit
        return list(self._stream.encode(frame))

    def rest(self) -> list[Packet]:
        """Return the packets that are left."""
        return list(self._stream.encode(None))


class JpegEncoder:
    """Encodes each picture as a JPEG image with libjpeg-turbo, with half the resolution for colours."""

    def __init__(self, container: OutputContainer, kind: FrameCopy, info: VideoInfo, unit: Fraction) -> None:
        height, width = kind.frame_size(info)
        self._stream = container.add_mux_stream(kind.codec, rate=frame_rate(info), width=width, height=height)
        self._stream.time_base = unit
        self._unit, self._quality = unit, kind.quality

    def packets(self, picture: NDArray[np.uint8], stamp: int) -> list[Packet]:
        """Return the packet of the picture; see `CopyEncoder`."""
        packet = Packet(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), self._quality, "RGB", "420"))
        packet.stream, packet.time_base, packet.is_keyframe = self._stream, self._unit, True
        packet.pts = packet.dts = stamp
        return [packet]

    def rest(self) -> list[Packet]:
        """Return nothing: no picture waits for another."""
        return []
