"""Which videos are meant: files, folders, patterns and lists."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from dsn_lightning.datasets.annotations import VIDEO_EXTENSIONS
from dsn_lightning.errors import UsageError, printable
from dsn_lightning.files import UnreadableFileError, read_bounded, user_path

LIST_EXTENSION = ".txt"
_KEY = "videos"
_LONGEST_LIST = 2**30  # bytes


def find_videos(given: Sequence[str]) -> list[str]:
    """Return the paths of all videos that were named, each once, in the order in which they were given.

    A file stands for itself, a folder for all video files in it and below, a pattern such as ``clips/*.mp4`` for the
    files that match it, and a ``.txt`` file for the paths in its lines, relative to its folder. A file that a list
    names may be missing; one that is given directly may not.

    Raises:
        UsageError: nothing is given, or an entry is a URL, is missing, or has no videos.
    """
    if not given:
        raise UsageError(f"{_KEY}=[]: give files, folders, patterns or lists, such as {_KEY}=[clip.mp4,folder]")
    return list(dict.fromkeys(path for entry in given for path in _of_entry(entry)))


def _of_entry(entry: str) -> Iterator[str]:
    where = f"{_KEY}={printable(entry)}"
    if "://" in entry:
        raise UsageError(f"{where}: is a URL; download the video and give its file")
    path = user_path(entry)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        raise UsageError(f"{where}: {error}") from None
    if is_folder:
        yield from _of_folder(path, where)
    elif exists:
        yield from _of_list(path, where) if path.suffix.lower() == LIST_EXTENSION else [str(path)]
    else:
        found = sorted(glob.glob(str(path), recursive=True))
        if not found:
            what = "no file matches" if glob.has_magic(entry) else "no such file or folder"
            raise UsageError(f"{where}: {what}")
        yield from (file for file in found if not Path(file).is_dir())


def _of_folder(folder: Path, where: str) -> list[str]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_EXTENSIONS and path.is_file())
    if not files:
        raise UsageError(f"{where}: no video files in this folder")
    return [str(file) for file in files]


def _of_list(file: Path, where: str) -> list[str]:
    try:
        lines = read_bounded(file, _LONGEST_LIST).decode().splitlines()
    except (UnreadableFileError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: cannot be read as a list of paths ({error})") from None
    paths = [line.strip() for line in lines if line.strip()]
    if not paths:
        raise UsageError(f"{where}: the list is empty")
    return [path if "://" in path else str(file.parent / user_path(path)) for path in paths]
