"""Videos stored as images: one folder of ``img_00001.jpg, img_00002.jpg, ...`` per video."""

import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dsn_lightning.errors import UsageError
from dsn_lightning.files import UnreadableFileError, read_bounded
from dsn_lightning.video.decoder import Frames, Indices
from dsn_lightning.video.video_info import VideoError, VideoInfo

_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000")  # others of Pillow start programs
_MAX_BYTES, _MAX_PIXELS = 2**28, 80_000_000  # of a frame; Pillow warns from 89 million on


@dataclass(frozen=True)
class ImageFolder:
    """Reads folders of images that are numbered without gaps from 0 or 1.

    Grey images of 16 bits are scaled to 8 bits. Images of floating-point or 32-bit numbers are refused, because nothing
    says which of them is white.

    Attributes:
        pattern: pattern of the images' names, in any case; the last number that its wildcards match counts.
        fps: frames per second, which images do not store.
    """

    pattern: str = "img_*.jpg"
    fps: float = 25.0
    deadline: ClassVar[float] = math.inf

    def __post_init__(self) -> None:
        if isinstance(self.fps, bool) or not isinstance(self.fps, int | float) or not 0 < self.fps < math.inf:
            raise UsageError(f"dataset.reading.decoder.fps={self.fps}: must be a number above 0")

    def find(self, path: Path) -> Path:
        """Return the folder of a video: the path itself, or the path without its extension."""
        return path if path.is_dir() else path.with_suffix("")

    def fingerprint(self, path: Path) -> list[Any]:
        """Return the settings, the number of images, their total size and the latest modification time."""
        states = [file.stat() for file, _ in self._numbered(self.find(path))]
        size, latest = sum(s.st_size for s in states), max((s.st_mtime_ns for s in states), default=0)
        return ["frames", self.pattern, self.fps, len(states), size, latest]

    def probe(self, path: Path) -> VideoInfo:
        """Read all images and report what they are.

        Raises:
            VideoError: there are no images, a number is missing, or an image is damaged or differs in size.
        """
        files = self._files(path)
        digest = blake2b(digest_size=16)
        size = None
        for file in files:
            content = _content(path, file)
            image = _decoded(path, file, content)
            size = size or image.size
            if image.size != size:
                width, height = image.size
                raise VideoError(path, f"{file.name}: expected {size[0]}x{size[1]} pixels, got {width}x{height}")
            digest.update(content)
        assert size is not None
        return VideoInfo(len(files), self.fps, *size, codec=f"frames {self.pattern}", digest=digest.hexdigest())

    def read(self, path: Path, indices: Indices, size: tuple[int, int], info: VideoInfo | None = None) -> Frames:
        """Return the frames ``indices``, uint8 (F, H, W, 3), scaled to ``size``; see `Decoder.read`."""
        files = self._files(path)
        if len(indices) and indices[-1] >= len(files):
            raise VideoError(path, f"ends before frame {indices[-1]}; has the folder changed since it was indexed?")
        out = np.empty((len(indices), *size, 3), np.uint8)
        for position, index in enumerate(indices):
            out[position] = _pixels(path, files[index], size)
        return out

    def frames(self, path: Path, size: tuple[int, int] | None = None) -> Iterator[Frames]:
        """Yield all frames, uint8 (H, W, 3), at their size or scaled."""
        return (_pixels(path, file, size) for file in self._files(path))

    def _files(self, path: Path) -> list[Path]:
        """Return the images in the order of their numbers."""
        folder = self.find(path)
        if not folder.is_dir():
            raise VideoError(path, f"no folder {folder.name} of images", transient=True)
        numbered: dict[int, Path] = {}
        for file, number in self._numbered(folder):
            if number in numbered:
                raise VideoError(
                    path,
                    f"{numbered[number].name} and {file.name} have the same number, {number}; choose a "
                    "dataset.reading.decoder.pattern that only one of them matches",
                )
            numbered[number] = file
        numbers = sorted(numbered)
        if not numbers:
            raise VideoError(path, f"no images {self.pattern}")
        gap = next((n for n in range(numbers[0], numbers[-1]) if n not in numbered), None)
        if numbers[0] > 1 or gap is not None:
            raise VideoError(path, f"image number {0 if gap is None else gap} of {self.pattern} is missing")
        return [numbered[n] for n in numbers]

    def _numbered(self, folder: Path) -> list[tuple[Path, int]]:
        """Return the images that match the pattern, sorted by name, with their numbers."""
        parts = re.split(r"(\*|\?)", self.pattern)
        wildcard = {"*": "(.*)", "?": "(.)"}
        regex = re.compile("".join(wildcard.get(part) or re.escape(part) for part in parts), re.IGNORECASE | re.DOTALL)
        found = []
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            match = regex.fullmatch(file.name)
            numbers = re.findall(r"\d+", " ".join(match.groups())) if match else []
            if numbers:
                found.append((file, int(numbers[-1])))
        return found


def _pixels(path: Path, file: Path, size: tuple[int, int] | None) -> Frames:
    image = _decoded(path, file, _content(path, file))
    return np.asarray(image if size is None else image.resize(size[::-1], Image.Resampling.BILINEAR))


def _content(path: Path, file: Path) -> bytes:
    try:
        return read_bounded(file, _MAX_BYTES)
    except FileNotFoundError as error:
        raise VideoError(path, f"{file.name} cannot be read (no such file)", transient=True) from error
    except UnreadableFileError as error:
        from_system = isinstance(error.__cause__, OSError)  # not caused by the content
        raise VideoError(path, f"{file.name} cannot be read ({error.reason})", transient=from_system) from error


def _decoded(path: Path, file: Path, content: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise VideoError(path, f"{file.name} has {image.width}x{image.height} pixels, too many for a frame")
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):
                upright = Image.fromarray(np.rint(np.asarray(upright) / 257).astype(np.uint8))
            elif upright.mode in ("I", "F"):
                bits = "floating-point" if upright.mode == "F" else "32-bit"
                raise VideoError(path, f"{file.name} has {bits} pixels; convert it to 8 or 16 bits")
            return upright.convert("RGB")
    except VideoError:
        raise
    except Exception as error:  # damaged images raise all kinds of errors
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else error  # it names no file
        raise VideoError(path, f"{file.name} cannot be read ({reason})") from error
