"""Crops and flow pixels: where windows lie, what a flip does to motion, and that testing windows are the field's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from dsn_lightning.stateless_random import stateless_rng
from dsn_lightning.video.crops import Crop
from dsn_lightning.video.modality import as_pictures, flow_colours, mirror_flow

SCALES = (1.0, 0.875, 0.75, 0.66)


def coordinates(height: int = 128, width: int = 171, channels: int = 3, frames: int = 2) -> np.ndarray:
    """Frames whose first channel is the row and whose second is the column of each pixel."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows, columns, np.zeros_like(rows)][:channels], -1).astype(np.uint8)
    return np.broadcast_to(pixels, (frames, height, width, channels)).copy()


def corner_of(clip: torch.Tensor) -> tuple[int, int]:
    return int(clip[0, 0, 0, 0]), int(clip[1, 0, 0, 0])


def test_training_windows_lie_in_the_corners_or_the_centre():
    crop = Crop((128, 171), 112, corners=True)
    drawn = {corner_of(crop(coordinates(), stateless_rng(seed))) for seed in range(200)}
    assert drawn == {(0, 0), (0, 59), (16, 0), (16, 59), (8, 29)}


def test_training_windows_lie_anywhere_without_corners():
    crop = Crop((128, 171), 112)
    drawn = [corner_of(crop(coordinates(), stateless_rng(seed))) for seed in range(200)]
    assert len(set(drawn)) > 100
    assert {top for top, _ in drawn} == set(range(17))


@pytest.mark.parametrize("channels", [2, 3])
def test_every_scale_is_drawn_and_scaled_back(channels):
    """A window of side s scaled to 112: neighbouring columns differ by s / 112 on average."""
    crop = Crop((128, 171), 112, SCALES, corners=True)
    sides = set()
    for seed in range(60):
        clip = crop(coordinates(channels=channels), stateless_rng(seed))
        assert clip.shape == (channels, 2, 112, 112)
        assert clip.dtype == torch.uint8
        assert (clip == clip[:, :1]).all()  # the same window for all frames
        sides.add(round((int(clip[1, 0, 0, -1]) - int(clip[1, 0, 0, 0])) * 112 / 111))
    assert all(min(abs(side - round(112 * scale)) for scale in SCALES) <= 1 for side in sides)
    assert {round(112 * scale) for scale in SCALES} <= {side + d for side in sides for d in (-1, 0, 1)}


def test_scaling_back_is_bilinear_with_antialias():
    frames = np.random.default_rng(0).integers(0, 256, (3, 128, 171, 3), np.uint8)
    crop = Crop((128, 171), 112, (0.75,), corners=True)
    places = [(t, x) for t in (0, 44) for x in (0, 87)] + [(22, 43)]
    theirs = [
        F.interpolate(torch.from_numpy(frames[:, t : t + 84, x : x + 84]).permute(0, 3, 1, 2), (112, 112),
                      mode="bilinear", antialias=True).transpose(0, 1)
        for t, x in places
    ]  # fmt: skip
    for seed in range(10):
        assert any(torch.equal(crop(frames, stateless_rng(seed)), window) for window in theirs)


def test_a_clip_is_drawn_from_its_generator_alone():
    frames = np.random.default_rng(0).integers(0, 256, (2, 128, 171, 3), np.uint8)
    crop = Crop((128, 171), 112, SCALES, 0.5, corners=True)
    assert all(torch.equal(crop(frames, stateless_rng(s)), crop(frames, stateless_rng(s))) for s in range(10))
    assert len({crop(frames, stateless_rng(s)).numpy().tobytes() for s in range(10)}) > 5


def test_a_flip_mirrors_rgb():
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 10, 3), np.uint8)
    plain, flipped = (Crop((8, 10), 8, flip=f, corners=True)(frames, stateless_rng(3)) for f in (0.0, 1.0))
    assert torch.equal(flipped, plain.flip(-1))


def test_a_flip_of_flow_turns_the_motion_to_the_right_around():
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 10, 2), np.uint8)
    plain, flipped = (Crop((8, 10), 8, flip=f, corners=True)(frames, stateless_rng(3)) for f in (0.0, 1.0))
    assert torch.equal(flipped[0], 255 - plain[0].flip(-1))
    assert torch.equal(flipped[1], plain[1].flip(-1))


def test_flow_of_mirrored_frames_is_the_mirrored_flow():
    """On real flow: Farneback on a moving texture, quantised as it is stored."""
    cv2 = pytest.importorskip("cv2", reason="opencv, of the extra `flow`, is not installed")
    noise = np.random.default_rng(0).normal(size=(96, 120)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    before, after = texture[8:72, 8:88], texture[5:69, 4:84]  # what was at (x, y) is now at (x + 4, y + 3)

    def quantised(a, b):
        flow = cv2.calcOpticalFlowFarneback(np.ascontiguousarray(a), np.ascontiguousarray(b), None, 0.5, 3, 15, 3, 5,
                                            1.2, 0)  # fmt: skip
        return np.round((flow.clip(-20, 20) + 20) / 40 * 255).astype(np.uint8)

    seen, mirrored = quantised(before, after), quantised(before[:, ::-1], after[:, ::-1])
    inside = np.s_[16:-16, 16:-16]
    assert np.median(seen[inside][..., 0]) == round((4 + 20) / 40 * 255)
    assert np.median(seen[inside][..., 1]) == round((3 + 20) / 40 * 255)
    difference = np.abs(mirror_flow(seen).astype(int) - mirrored)[inside]
    assert np.quantile(difference, 0.9) <= 2
    assert np.abs(seen[:, ::-1].astype(int) - mirrored)[inside][..., 0].mean() > 40  # what a plain flip would give


def test_three_windows_lie_as_slowfasts():
    """`uniform_crop` by hand: both ends and the centre (rounded down here) of the longer side, the shorter centred."""
    wide = Crop((128, 171), 112, windows=3)(coordinates(), None)
    assert wide.shape == (3, 3, 2, 112, 112)
    assert [corner_of(clip) for clip in wide] == [(8, 0), (8, 29), (8, 59)]
    tall = Crop((171, 128), 112, windows=3)(coordinates(171, 128), None)
    assert [corner_of(clip) for clip in tall] == [(0, 8), (29, 8), (59, 8)]
    whole = Crop((112, 171), 112, windows=3)(coordinates(112), None)
    assert [corner_of(clip) for clip in whole] == [(0, 0), (0, 29), (0, 59)]


@given(st.integers(34, 60), st.integers(34, 60))
def test_the_middle_window_is_the_single_one(height, width):
    frames = coordinates(height, width)
    three, one = (Crop((height, width), 32, windows=windows)(frames, None) for windows in (3, 1))
    assert torch.equal(three[1], one)


def test_training_takes_one_window_also_where_testing_takes_three():
    frames = coordinates()
    three, one = (Crop((128, 171), 112, SCALES, 0.5, True, windows) for windows in (3, 1))
    assert torch.equal(three(frames, stateless_rng(1)), one(frames, stateless_rng(1)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"windows": 2}, "1 or 3"), ({"frame_size": (112, 113), "windows": 3}, "hold no three"),
     ({"scales": (1.5,)}, "does not fit")],
)  # fmt: skip
def test_windows_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Crop(**{"frame_size": (128, 171), "crop_size": 112, **changes})


def test_flow_is_drawn_in_colours_of_its_direction():
    frames = np.full((3, 4, 5, 2), 128, np.uint8)
    frames[0, :, :, 0], frames[1, :, :, 1], frames[2, :, :, 1] = 255, 255, 0
    right, down, up = (picture[0, 0].astype(int) for picture in flow_colours(frames))
    assert right[0] > 250 > 10 > max(right[1:])
    assert down[1] == 255 > 140 > down[0] > down[2]
    assert up[2] == 255 > 140 > up[0] > up[1]
    assert flow_colours(np.full((4, 5, 2), 128, np.uint8)).min() > 220  # nothing moves: nearly white
    assert np.array_equal(as_pictures(coordinates()), coordinates())
    assert as_pictures(frames).shape == (3, 4, 5, 3)
