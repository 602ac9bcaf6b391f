"""Folders of images: read as videos, and refused where an image is missing or damaged."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsn_lightning.video.image_folder import ImageFolder
from dsn_lightning.video.video_info import VideoError
from helpers.encoded_videos import assert_exact, moving_picture


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
    ],
)
def test_damaged_folders_are_refused_with_the_reason(spoil, reason, tmp_path):
    spoil(as_images(tmp_path / "v", moving_picture(9)))
    with pytest.raises(VideoError, match=reason):
        ImageFolder().probe(tmp_path / "v")
