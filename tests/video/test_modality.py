"""Flow pixels: mirrored, and drawn in colours."""

import numpy as np
import pytest

from dsn_lightning.video.modality import as_pictures, flow_colours, mirror_flow


def coordinates(height: int = 128, width: int = 171, channels: int = 3, frames: int = 2) -> np.ndarray:
    """Frames whose first channel is the row and whose second is the column of each pixel."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows, columns, np.zeros_like(rows)][:channels], -1).astype(np.uint8)
    return np.broadcast_to(pixels, (frames, height, width, channels)).copy()


def test_flow_of_mirrored_frames_is_the_mirrored_flow():
    """On real flow: Farneback on a moving texture, quantised as in flow files."""
    cv2 = pytest.importorskip("cv2", reason="opencv, of the extra `flow`, is not installed")
    noise = np.random.default_rng(0).normal(size=(96, 120)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    before, after = texture[8:72, 8:88], texture[5:69, 4:84]  # what was at (x, y) is now at (x + 4, y + 3)

    def quantised(a, b):
        flow = cv2.calcOpticalFlowFarneback(
            np.ascontiguousarray(a), np.ascontiguousarray(b), None, 0.5, 3, 15, 3, 5, 1.2, 0
        )
        return np.round((flow.clip(-20, 20) + 20) / 40 * 255).astype(np.uint8)

    seen, mirrored = quantised(before, after), quantised(before[:, ::-1], after[:, ::-1])
    inside = np.s_[16:-16, 16:-16]
    assert np.median(seen[inside][..., 0]) == round((4 + 20) / 40 * 255)
    assert np.median(seen[inside][..., 1]) == round((3 + 20) / 40 * 255)
    difference = np.abs(mirror_flow(seen).astype(int) - mirrored)[inside]
    assert np.quantile(difference, 0.9) <= 2
    assert np.abs(seen[:, ::-1].astype(int) - mirrored)[inside][..., 0].mean() > 40  # what a plain flip would give


def test_colours_show_the_direction_of_flow():
    frames = np.full((3, 4, 5, 2), 128, np.uint8)
    frames[0, :, :, 0], frames[1, :, :, 1], frames[2, :, :, 1] = 255, 255, 0
    right, down, up = (picture[0, 0].astype(int) for picture in flow_colours(frames))
    assert right[0] > 250 > 10 > max(right[1:])
    assert down[1] == 255 > 140 > down[0] > down[2]
    assert up[2] == 255 > 140 > up[0] > up[1]
    assert flow_colours(np.full((4, 5, 2), 128, np.uint8)).min() > 220  # nothing moves: nearly white
    assert np.array_equal(as_pictures(coordinates()), coordinates())
    assert as_pictures(frames).shape == (3, 4, 5, 3)
