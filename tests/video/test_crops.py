"""Crops: the position of windows, flips of RGB and flow, and the testing windows of SlowFast."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dsn_lightning.stateless_random import stateless_rng
from dsn_lightning.video.crops import Crop

SCALES = (1.0, 0.875, 0.75, 0.66)


def coordinates(height: int = 128, width: int = 171, channels: int = 3, frames: int = 2) -> np.ndarray:
    """Frames whose first channel is the row and whose second is the column of each pixel."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows, columns, np.zeros_like(rows)][:channels], -1).astype(np.uint8)
    return np.broadcast_to(pixels, (frames, height, width, channels)).copy()


def corner_of(clip: torch.Tensor) -> tuple[int, int]:
    return int(clip[0, 0, 0, 0]), int(clip[1, 0, 0, 0])


def test_training_windows_are_in_the_corners_or_the_centre():
    crop = Crop((128, 171), 112, corners=True)
    drawn = {corner_of(crop(coordinates(), stateless_rng(seed))) for seed in range(200)}
    assert drawn == {(0, 0), (0, 59), (16, 0), (16, 59), (8, 29)}


def test_training_windows_are_anywhere_without_corners():
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
        F.interpolate(
            torch.from_numpy(frames[:, t : t + 84, x : x + 84]).permute(0, 3, 1, 2),
            (112, 112),
            mode="bilinear",
            antialias=True,
        ).transpose(0, 1)
        for t, x in places
    ]
    for seed in range(10):
        assert any(torch.equal(crop(frames, stateless_rng(seed)), window) for window in theirs)


def test_a_clip_is_drawn_from_its_generator_alone():
    frames = np.random.default_rng(0).integers(0, 256, (2, 128, 171, 3), np.uint8)
    crop = Crop((128, 171), 112, SCALES, 0.5, corners=True)
    assert all(torch.equal(crop(frames, stateless_rng(s)), crop(frames, stateless_rng(s))) for s in range(10))
    assert len({crop(frames, stateless_rng(s)).numpy().tobytes() for s in range(10)}) > 5


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_the_memory_layout_of_the_frames_does_not_matter(scale, channels):
    frames = np.random.default_rng(0).integers(0, 256, (5, 20, 26, channels)).astype(np.uint8)
    planes = np.ascontiguousarray(frames.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    turned = np.ascontiguousarray(frames[:, ::-1])[:, ::-1]
    fixed = frames.copy()
    fixed.setflags(write=False)
    crop = Crop((20, 26), 12, scales=(scale,), flip=0.5)
    for seed in range(8):
        clips = [crop(layout, np.random.default_rng(seed)) for layout in (frames, planes, turned, fixed)]
        assert all(torch.equal(clip, clips[0]) and clip.is_contiguous() for clip in clips)


def test_a_flip_mirrors_rgb():
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 10, 3), np.uint8)
    plain, flipped = (Crop((8, 10), 8, flip=f, corners=True)(frames, stateless_rng(3)) for f in (0.0, 1.0))
    assert torch.equal(flipped, plain.flip(-1))


def test_a_flip_of_flow_negates_horizontal_motion():
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 10, 2), np.uint8)
    plain, flipped = (Crop((8, 10), 8, flip=f, corners=True)(frames, stateless_rng(3)) for f in (0.0, 1.0))
    assert torch.equal(flipped[0], 255 - plain[0].flip(-1))
    assert torch.equal(flipped[1], plain[1].flip(-1))


def test_three_windows_are_placed_as_in_slowfast():
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


def test_training_takes_one_window_when_testing_takes_three():
    frames = coordinates()
    three, one = (Crop((128, 171), 112, SCALES, 0.5, True, windows) for windows in (3, 1))
    assert torch.equal(three(frames, stateless_rng(1)), one(frames, stateless_rng(1)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windows": 2}, "1 or 3"),
        ({"frame_size": (112, 113), "windows": 3}, "do not fit in frames"),
        ({"scales": (1.5,)}, "does not fit in"),
    ],
)
def test_impossible_windows_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Crop(**{"frame_size": (128, 171), "crop_size": 112, **changes})


def test_all_frames_have_the_same_crop_centred_in_testing():
    frames = np.broadcast_to(np.arange(10 * 12, dtype=np.uint8).reshape(1, 10, 12, 1), (5, 10, 12, 3))
    crop = Crop((10, 12), 6, scales=(1.0, 1.5), flip=0.5)
    assert crop(frames, None)[0, 0, 0, 0] == 2 * 12 + 3
    for seed in range(20):
        clip = crop(frames, stateless_rng(seed))
        assert clip.shape == (3, 5, 6, 6)
        assert clip.dtype == torch.uint8
        assert (clip == clip[:, :1]).all()


def test_a_window_larger_than_the_frame_is_refused():
    with pytest.raises(ValueError, match="does not fit in"):
        Crop((8, 8), 8, scales=(1.5,))


@pytest.mark.parametrize(("height", "width"), [(240, 320), (1920, 1080), (1080, 1920), (100, 100), (35, 501)])
def test_the_short_side_is_that_of_torchvisions_resize(height, width):
    from torchvision.transforms.functional import resize

    expected = resize(torch.zeros(1, height, width), [128]).shape[1:]
    assert Crop((128, 171), 112, resize="short_side").scaled_size(height, width) == tuple(expected)


@pytest.mark.parametrize("resize", ["squash", "short_side", "letterbox"])
def test_a_circle_in_a_phone_video_stays_one_unless_squashed(resize):
    """9:16 frames are otherwise 2.4 times too wide."""
    rows, columns = np.mgrid[:1920, :1080]
    picture = Image.fromarray(np.uint8(255 * (np.hypot(rows - 960, columns - 540) < 300)))
    crop = Crop((128, 171), 112, resize=resize)
    height, width = crop.scaled_size(1920, 1080)
    frame = np.asarray(picture.resize((width, height)))[None, :, :, None].repeat(3, -1)
    clip = crop(frame, None)[0, 0] > 127
    seen_width, seen_height = (clip.any(axis).sum().item() for axis in (0, 1))
    assert seen_width / seen_height == pytest.approx(171 / 128 * 1920 / 1080 if resize == "squash" else 1, rel=0.05)


def test_a_letterbox_shows_the_whole_frame_between_black_bars():
    crop = Crop((8, 12), 8, resize="letterbox")
    assert crop.scaled_size(160, 80) == (8, 4)
    clip = crop(np.full((2, 8, 4, 3), 9, np.uint8), None)
    assert clip.shape == (3, 2, 8, 8)
    assert clip[0, 0, 0].tolist() == [0, 0, 9, 9, 9, 9, 0, 0]
