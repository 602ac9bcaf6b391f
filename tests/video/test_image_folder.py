"""Folders of images: read as videos, and refused where an image is missing or damaged."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsn_lightning.video.image_folder import ImageFolder
from dsn_lightning.video.video_info import VideoError
from helpers.encoded_videos import assert_exact, moving_picture
from helpers.pictures import png_of

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n"


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def as_images(folder: Path, frames: np.ndarray, *, first: int = 1) -> Path:
    folder.mkdir()
    for number, image in enumerate(frames, first):
        Image.fromarray(image).save(folder / f"img_{number:05d}.jpg", quality=95)
    return folder


@pytest.mark.parametrize("first", [0, 1])
def test_images_are_the_frames_of_a_video(first, tmp_path, monkeypatch):
    as_images(tmp_path / "v", moving_picture(20), first=first)
    path = tmp_path / "v.avi"  # the name that the data set lists
    whole = np.stack([np.asarray(Image.open(f)) for f in sorted((tmp_path / "v").iterdir())])
    info = assert_exact(ImageFolder(fps=10), path, whole, monkeypatch)
    assert (info.fps, info.duration) == (10, 2)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda d: (d / "img_00007.jpg").unlink(), "image number 7 of"),
        (lambda d: (d / "img_00003.jpg").write_bytes(b"no image"), "img_00003.jpg cannot be read"),
        (lambda d: Image.new("RGB", (9, 9)).save(d / "img_00004.jpg"), "img_00004.jpg: expected .* pixels, got 9x9"),
        (lambda d: [f.unlink() for f in d.iterdir()], "no images"),
        (
            lambda d: (d / "img_00003.jpg").write_bytes(png_of(9000, 9000)),
            "img_00003.jpg has 9000x9000 pixels, too many",
        ),
        (lambda d: (d / "img_00003.jpg").write_bytes(png_of(60_000, 60_000)), "img_00003.jpg cannot be read"),
        (lambda d: (d / "img_00003.jpg").write_bytes(POSTSCRIPT), "img_00003.jpg cannot be read .not an image"),
        (lambda d: pipe(d / "img_00003.jpg"), "img_00003.jpg cannot be read .not a regular file"),
        (lambda d: (d / f"img_{10**200}.jpg").touch(), "image number 10 of"),
    ],
)
def test_damaged_folders_are_refused_with_the_reason(spoil, reason, tmp_path):
    spoil(as_images(tmp_path / "v", moving_picture(9)))
    with pytest.raises(VideoError, match=reason):
        ImageFolder().probe(tmp_path / "v")


def test_grey_images_of_16_bits_are_scaled(tmp_path):
    (tmp_path / "v").mkdir()
    levels = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)
    for number in (1, 2):
        Image.fromarray(levels).save(tmp_path / "v" / f"img_{number:05d}.png")
    decoder = ImageFolder("img_*.png")
    found = decoder.read(tmp_path / "v", [1], (48, 64), decoder.probe(tmp_path / "v"))[0]
    assert np.array_equal(found, np.rint(levels / 257).astype(np.uint8)[..., None].repeat(3, -1))
    assert (found.min(), found.max()) == (0, 255)


@pytest.mark.parametrize(("kind", "name"), [(np.float32, "floating-point"), (np.int32, "32-bit")])
def test_images_without_a_known_white_are_refused(kind, name, tmp_path):
    (tmp_path / "v").mkdir()
    Image.fromarray(np.ones((8, 8), kind)).save(tmp_path / "v" / "img_00001.tif")
    with pytest.raises(VideoError, match=f"img_00001.tif has {name} pixels"):
        ImageFolder("img_*.tif").probe(tmp_path / "v")


def test_two_images_of_one_number_are_refused(tmp_path):
    (tmp_path / "v").mkdir()
    for number in (1, 2):
        for camera in (0, 1):
            Image.new("RGB", (16, 16), (90 * camera, 0, 0)).save(tmp_path / "v" / f"img_{number:05d}_cam{camera}.png")
    with pytest.raises(VideoError, match=r"img_00001_cam0.png and img_00002_cam0.png have the same number, 0"):
        ImageFolder("img_*.png").probe(tmp_path / "v")
    chosen = ImageFolder("img_*_cam1.png")
    assert chosen.probe(tmp_path / "v").num_frames == 2
    assert chosen.read(tmp_path / "v", [0], (16, 16))[0, 0, 0, 0] == 90


def test_upper_case_names_are_found(tmp_path):
    (tmp_path / "v").mkdir()
    for number in (1, 2, 3):
        Image.new("RGB", (16, 16)).save(tmp_path / "v" / f"IMG_{number}.JPG")
    assert ImageFolder().probe(tmp_path / "v").num_frames == 3
    assert ImageFolder().fingerprint(tmp_path / "v")[3] == 3


def test_real_folders_of_16_bits_and_of_two_cameras(real_data):
    folder = real_data / "reading_faults" / "frames16"
    stored = np.asarray(Image.open(folder / "img_00001.png"))
    assert stored.max() > 255
    found = ImageFolder("*.png").read(folder, [0], stored.shape)[0]
    assert np.array_equal(found[..., 0], np.rint(stored / 257))
    with pytest.raises(VideoError, match="have the same number"):
        ImageFolder("*.png").probe(real_data / "reading_faults" / "two_cams")
