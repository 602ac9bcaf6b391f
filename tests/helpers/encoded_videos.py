"""One moving picture in many formats, and the check that a decoder returns exactly its frames."""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dsn_lightning.video import pyav_decoder as decoding
from dsn_lightning.video.decoder import Decoder
from dsn_lightning.video.torchcodec_decoder import TorchCodec
from dsn_lightning.video.video_info import VideoInfo

os.environ["SVT_LOG"] = "0"  # the AV1 encoder is verbose


KINDS = {
    "h264.mp4": ("libx264", {"bf": "3", "g": "12"}, {}),
    "open_gop.mp4": ("libx264", {"bf": "3", "g": "12", "x264-params": "open-gop=1:scenecut=0:keyint=12"}, {}),
    "refresh.mp4": ("libx264", {"g": "12", "x264-params": "intra-refresh=1"}, {}),
    "front.mp4": ("libx264", {"bf": "2"}, {"movflags": "faststart"}),
    "h264.mkv": ("libx264", {"bf": "2"}, {}),
    "h264.ts": ("libx264", {"bf": "2", "g": "12"}, {}),
    "raw.h264": ("libx264", {"bf": "2", "g": "12"}, {}),
    "hevc.mp4": ("libx265", {"x265-params": "log-level=none:keyint=12"}, {}),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "g": "12"}, {}),
    "vp9.webm": ("libvpx-vp9", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "12"}, {}),
    "av1.mkv": ("libsvtav1", {"preset": "12", "g": "12"}, {}),
    "mjpeg.avi": ("mjpeg", {}, {}),
}


def moving_picture(num_frames: int = 50) -> np.ndarray:
    """A texture that moves, with the frame's number in its brightness."""
    rng = np.random.default_rng(0)
    base = rng.integers(20, 220, (12, 16, 3)).repeat(8, 0).repeat(8, 1)
    return np.stack([np.roll(base, 3 * i, 1) + i % 30 for i in range(num_frames)]).astype(np.uint8)


def encode(path: Path, codec: str, options: dict[str, str], container: dict[str, str], *, stamps: Sequence[int] = ()):
    """Write `moving_picture`, with regular time stamps or the given ones in 1/100 s."""
    frames = moving_picture(len(stamps) or 50)
    with av.open(str(path), "w", options=container) as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        if stamps:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
        for i, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if stamps:
                frame.pts, frame.time_base = stamps[i], Fraction(1, 100)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def encode_each_format(folder: Path) -> dict[str, Path]:
    """The moving picture in each format."""
    for name, (codec, options, container) in KINDS.items():
        encode(folder / name, codec, options, container)
    return {name: folder / name for name in KINDS}


def everything(path: Path) -> np.ndarray:
    """All frames of FFmpeg's best video stream, decoded in order and converted by PyAV itself, turned upright."""
    with av.open(path, metadata_errors="replace") as container:
        decoded = container.decode(container.streams.best("video"))
        return np.stack([np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)) for frame in decoded])


def look_alike(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether frames are the same although another version of FFmpeg converted their colours."""
    return found.shape == expected.shape and bool((np.abs(found - expected.astype(int)).mean((1, 2, 3)) < 3).all())


def assert_exact(decoder: Decoder, path: Path, whole: np.ndarray, monkeypatch, *, draws: int = 6) -> VideoInfo:
    """Any set of frames, with and without the index, from the start or by jumps, is that of the whole in order."""
    info = decoder.probe(path)
    assert (info.num_frames, info.height, info.width) == whole.shape[:3]
    size = (34, 46)
    small = np.stack(list(decoder.frames(path, size)))
    same = look_alike if isinstance(decoder, TorchCodec) else np.array_equal
    rng = np.random.default_rng(len(whole))
    for cost in (0, decoding._SEEK_COST):
        monkeypatch.setattr(decoding, "_SEEK_COST", cost)
        for draw in range(draws):
            some = np.sort(rng.choice(len(whole), rng.integers(1, min(8, len(whole)) + 1), replace=False))
            known = info if draw % 3 else None
            assert same(decoder.read(path, some, whole.shape[1:3], known), whole[some]), (some, known)
            assert np.array_equal(decoder.read(path, some, size, known), small[some]), (some, known)
    return info


def need_torchcodec() -> None:
    try:
        from torchcodec.decoders import VideoDecoder

        VideoDecoder("no such file")  # loads FFmpeg
    except (ImportError, OSError) as error:
        pytest.skip(f"torchcodec is not installed: {str(error).splitlines()[0]}")
    except (RuntimeError, ValueError) as error:
        if "libtorchcodec" in str(error):
            pytest.skip(f"the FFmpeg that torchcodec needs is not installed: {str(error).splitlines()[0]}")
