"""What decoding every file of a data set once has shown, kept on disk.

`index.json` in a data set's prepared folder holds, by path below the data set's root, each file's size and date and
either its `VideoInfo` or why it cannot be used. While files are decoded, results go to a journal beside it, so that
being killed costs little; the index itself depends on the files alone, byte for byte.
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.console import Console
from rich.progress import track

from dsn_lightning.datasets.records import VideoSource
from dsn_lightning.files import write_atomically
from dsn_lightning.video.decoder import Prober
from dsn_lightning.video.video_info import VideoError, VideoInfo

INDEX = "index.json"
_FORMAT = 3
_JOURNAL = ".index.journal"

Entry = dict[str, Any]


def prepared_folder(source: VideoSource, cache: Path = Path("~/.cache/dsn_lightning")) -> Path:
    """Return the folder for what is made of a data set, unless another one is asked for."""
    place = hashlib.blake2b(str(source.root).encode(), digest_size=6).hexdigest()
    return cache.expanduser() / f"{source.name}-{place}"


def prepare_alone(source: VideoSource, folder: str | Path | None = None) -> Path:
    """Let a data set make what it needs, while no other process that uses ``folder`` does; see `VideoSource.prepare`.

    Args:
        source: the data set.
        folder: for what is made of it; None for the usual one, `prepared_folder`.

    Returns:
        The folder, which is there then.
    """
    place = prepared_folder(source) if folder is None else Path(folder).expanduser().absolute()
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".source.lock"):  # dsn-prepare holds .prepare.lock for hours
        source.prepare()
    return place


def index_videos(
    paths: Iterable[Path], folder: Path, *, root: Path, decoder: Prober, num_threads: int, show: bool = True
) -> dict[Path, VideoInfo | VideoError]:
    """Return what decoding each file showed; results in ``folder`` are reused while a file's size and date stay.

    Of several processes one decodes, the others wait and read what it found.

    Args:
        paths: files that are there, below ``root``.
        folder: holds the index.
        root: the data set's folder.
        decoder: reads the files.
        num_threads: files decoded at a time.
        show: draw a progress bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {_key(path, root): path for path in paths}
    with FileLock(folder / ".index.lock"):
        for partial in folder.glob(f".{INDEX}.*"):  # of a call that was killed
            partial.unlink(missing_ok=True)
        known = _read(folder)
        marks = {key: _mark(decoder, path) for key, path in wanted.items()}
        stale = [key for key, mark in marks.items() if known.get(key, {}).get("mark") != mark]
        if stale:
            fresh = _decode({key: wanted[key] for key in stale}, marks, folder, decoder, num_threads, show=show)
            known |= fresh
        if stale or (folder / _JOURNAL).exists():
            lasting = {key: entry for key, entry in sorted(known.items()) if not entry.get("passing")}
            write_atomically(folder / INDEX, json.dumps({"format": _FORMAT, "videos": lasting}, indent=0) + "\n")
            (folder / _JOURNAL).unlink(missing_ok=True)
    return {path: _result(known[key], path) for key, path in wanted.items()}


def _key(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _mark(decoder: Prober, path: Path) -> list[Any]:
    try:
        return decoder.mark(path)
    except OSError:
        return []


def _decode(
    paths: dict[str, Path], marks: dict[str, Any], folder: Path, decoder: Prober, num_threads: int, *, show: bool
) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    writing = threading.Lock()
    console = Console(stderr=True, quiet=not show)

    def probe(path: Path) -> Entry:
        try:
            return {"info": decoder.probe(path).to_json()}
        except VideoError as error:
            return {"error": error.reason} | ({} if error.lasting else {"passing": True})

    with open(folder / _JOURNAL, "a") as journal, ThreadPoolExecutor(num_threads) as pool:

        def note(key: str) -> None:  # by the thread that decoded, before it takes another file
            found[key] = {"mark": marks[key], **probe(paths[key])}
            line = json.dumps([_FORMAT, key, found[key]]) + "\n"
            with writing:
                journal.write(line)
                journal.flush()

        waiting = [pool.submit(note, key) for key in paths]  # FFmpeg releases the interpreter's lock
        try:
            for future in track(as_completed(waiting), f"Indexing {len(paths)} videos", len(paths), console=console):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _read(folder: Path) -> dict[str, Entry]:
    """Return the entries of the index and of the journal of a run that was killed; damaged ones are left out."""
    known: dict[str, Entry] = {}
    with contextlib.suppress(OSError, ValueError, AttributeError):
        content = json.loads((folder / INDEX).read_text())
        if content.get("format") == _FORMAT:
            known = {key: entry for key, entry in content["videos"].items() if _usable(entry)}
    for line in _lines(folder / _JOURNAL):
        with contextlib.suppress(ValueError, TypeError):  # the last line is torn
            number, key, entry = json.loads(line)
            if number == _FORMAT and _usable(entry) and not entry.get("passing"):
                known[key] = entry
    return known


def _usable(entry: Entry) -> bool:
    try:
        return "error" in entry or bool(VideoInfo.from_json(entry["info"]).num_frames)
    except (KeyError, TypeError):
        return False


def _lines(file: Path) -> Iterator[str]:
    if file.is_file():
        yield from file.read_text(errors="replace").splitlines()


def _result(entry: Entry, path: Path) -> VideoInfo | VideoError:
    if "error" in entry:
        return VideoError(path, entry["error"], lasting=not entry.get("passing"))
    return VideoInfo.from_json(entry["info"])


def good_ones(found: dict[Path, VideoInfo | VideoError]) -> dict[Path, VideoInfo]:
    """Return what could be indexed."""
    return {path: info for path, info in found.items() if isinstance(info, VideoInfo)}
