"""Orientations of frames: the eight matrices of quarter turns and mirrors."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from conftest import grey_ramp, write_video
from dsn_lightning.video.pyav_decoder import PyAV

MATRICES = {  # (a, b, c, d): stored (x, y) is displayed at (a x + c y, b x + d y) -> how the pixels change
    (1, 0, 0, 1): lambda frame: frame,
    (-1, 0, 0, 1): lambda frame: frame[:, ::-1],
    (1, 0, 0, -1): lambda frame: frame[::-1],
    (-1, 0, 0, -1): lambda frame: np.rot90(frame, 2),
    (0, 1, -1, 0): lambda frame: np.rot90(frame, -1),  # clockwise, as phones held upright write it
    (0, -1, 1, 0): np.rot90,
    (0, 1, 1, 0): lambda frame: frame.transpose(1, 0, 2),
    (0, -1, -1, 0): lambda frame: np.rot90(frame, 2).transpose(1, 0, 2),
    (0, 0, 0, 0): lambda frame: frame,
}


def with_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Replace the matrix in the track header (tkhd) of an MP4 file."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    a, b, c, d = (value * 65536 for value in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
    path.write_bytes(content)


@pytest.mark.parametrize("matrix", MATRICES)
def test_each_matrix_is_applied(matrix, tmp_path):
    picture = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3) // 2
    picture[:20, :30] = 255  # no symmetry
    write_video(tmp_path / "v.mp4", np.stack([picture] * 3))
    with av.open(str(tmp_path / "v.mp4")) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    with_matrix(tmp_path / "v.mp4", matrix)
    expected = MATRICES[matrix](stored)
    info = PyAV().probe(tmp_path / "v.mp4")
    assert (info.height, info.width) == expected.shape[:2]
    assert info.mirrored == (np.linalg.det(np.reshape(matrix, (2, 2))) < 0)
    assert np.array_equal(PyAV().read(tmp_path / "v.mp4", [1], expected.shape[:2], info)[0], expected)
    assert np.array_equal(next(PyAV().frames(tmp_path / "v.mp4")), expected)


@pytest.mark.parametrize("size", [(24, 31), (24, 32), (96, 128), (48, 63), (47, 64)])
def test_scaled_frames_are_those_of_an_exact_filter(size, tmp_path):
    """torch's antialiased bilinear filter, on the frames at their size."""
    y, x = np.mgrid[0:48, 0:64]
    picture = np.stack([20 + 2 * x + y] * 3, -1).astype(np.uint8)
    write_video(tmp_path / "v.mp4", np.stack([picture] * 2))
    (whole,) = PyAV().read(tmp_path / "v.mp4", [0], (48, 64))
    (scaled,) = PyAV().read(tmp_path / "v.mp4", [0], size)
    planes = torch.from_numpy(whole.copy()).permute(2, 0, 1)[None].float()
    exact = F.interpolate(planes, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    assert scaled.shape == (*size, 3)
    assert np.abs(scaled - exact).mean() < 0.7  # half a pixel to the side would give 1


def test_players_agree_on_the_size_of_a_phone_video(tmp_path):
    write_video(tmp_path / "v.mp4", grey_ramp(2))
    with_matrix(tmp_path / "v.mp4", (0, 1, -1, 0))
    info = PyAV().probe(tmp_path / "v.mp4")
    assert (info.width, info.height) == grey_ramp(1)[0].shape[:2]
