"""Videos to time reading with, made from random numbers."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from PIL import Image


def make(
    path: Path, seconds: float, *, height: int = 256, width: int = 340, codec: str = "libx264", keyint: int = 250
) -> None:
    """Write a video of 25 frames per second: a scene that moves, with a patch that flickers."""
    rng = np.random.default_rng(0)
    blocks = Image.fromarray(rng.integers(0, 255, (height // 16, width // 16, 3)).astype(np.uint8))
    scene = np.asarray(blocks.resize((width, height), Image.Resampling.BICUBIC))
    options = {"g": str(keyint), "sc_threshold": "0"} | ({"crf": "23"} if codec == "libx264" else {"qscale": "4"})
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width, stream.pix_fmt = *scene.shape[:2], "yuv420p"
        stream.time_base = Fraction(1, 25)
        for i in range(round(25 * seconds)):
            image = np.roll(scene, (i, 2 * i), (0, 1))
            image[height // 6 : height // 2, width // 3 : width // 2] = rng.integers(
                0, 255, (height // 2 - height // 6, width // 2 - width // 3, 1)
            )
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))


def repeat(source: Path, target: Path, times: int) -> None:
    """Write a video several times in a row, without encoding it anew; it must end with a closed group of pictures."""
    with av.open(str(source)) as container:
        video = container.streams.video[0]
        packets = [packet for packet in container.demux(video) if packet.pts is not None and packet.dts is not None]
        parts = [(bytes(p), p.pts or 0, p.dts or 0, p.duration or 0, p.is_keyframe) for p in packets]
        length = max(pts + duration for _, pts, _, duration, _ in parts)
        with av.open(str(target), "w") as out:
            stream = out.add_stream_from_template(video)
            for turn in range(times):
                for content, pts, dts, duration, key in parts:
                    packet = av.Packet(content)
                    packet.stream, packet.time_base = stream, video.time_base or Fraction(1, 25)
                    packet.pts, packet.dts = pts + turn * length, dts + turn * length
                    packet.duration, packet.is_keyframe = duration, key
                    out.mux(packet)
