"""The index of a data set's videos: what decoding every file once found, kept on disk.

`index.json` in a data set's prepared folder contains, by path below the data set's root, each file's fingerprint and
either its `VideoInfo` or the reason why it cannot be used. While files are decoded, results go to a journal beside it,
so that little is lost when the process is killed. An index in another format is ignored.
"""

import contextlib
import hashlib
import json
import math
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from rich.progress import track

from dsn_lightning.datasets.records import VideoSource
from dsn_lightning.files import read_bounded, refuse_link, user_path, write_atomically
from dsn_lightning.text_tables import PrintableConsole
from dsn_lightning.video.decoder import Prober
from dsn_lightning.video.video_info import MAX_FRAMES, VideoError, VideoInfo, check_unflagged, unpack

INDEX = "index.json"
_CACHE = "~/.cache/dsn_lightning"
_FORMAT = 5
_JOURNAL = ".index.journal"
_MAX_BYTES = 2**32
_DAMAGED = (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What reading a damaged index raises."""

Entry = dict[str, Any]


def prepared_folder(source: VideoSource, folder: str | Path | None = None) -> Path:
    """Return the folder for the prepared files of a data set; by default below ``~/.cache/dsn_lightning``."""
    if folder is not None:
        return user_path(folder).absolute()
    root_hash = hashlib.blake2b(os.fsencode(source.root), digest_size=6).hexdigest()
    return user_path(_CACHE) / f"{source.name}-{root_hash}"


def prepare_source(source: VideoSource, folder: str | Path | None = None) -> Path:
    """Call `VideoSource.prepare`, in one process at a time, and return the `prepared_folder`."""
    prepared = prepared_folder(source, folder)
    prepared.mkdir(parents=True, exist_ok=True)
    refuse_link(prepared / ".source.lock")
    with FileLock(prepared / ".source.lock"):  # not .prepare.lock, which dsn-prepare keeps for hours
        source.prepare()
    return prepared


def index_videos(
    paths: Iterable[Path], folder: Path, *, root: Path, decoder: Prober, num_threads: int, show: bool = True
) -> dict[Path, VideoInfo | VideoError]:
    """Return what decoding each of the existing files below ``root`` found; of several processes one decodes.

    Results in ``folder`` are reused while a file's fingerprint is the same. ``show`` draws a progress bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {path.relative_to(root).as_posix(): path for path in paths}
    for name in (".index.lock", _JOURNAL):
        refuse_link(folder / name)
    with FileLock(folder / ".index.lock"):
        for partial in folder.glob(f".{INDEX}.*"):  # of a killed process
            partial.unlink(missing_ok=True)
        known = _read(folder)
        fingerprints = {key: _fingerprint(decoder, path) for key, path in wanted.items()}
        stale = [key for key, value in fingerprints.items() if known.get(key, {}).get("fingerprint") != value]
        if stale:
            files = {key: (wanted[key], fingerprints[key]) for key in stale}
            known |= _decode(files, folder, decoder, num_threads, show=show)
        if stale or (folder / _JOURNAL).exists():
            stored = {key: entry for key, entry in sorted(known.items()) if not entry.get("transient")}
            write_atomically(folder / INDEX, json.dumps({"format": _FORMAT, "videos": stored}, indent=0) + "\n")
            (folder / _JOURNAL).unlink(missing_ok=True)
    return {path: _result(known[key], path) for key, path in wanted.items()}


def _fingerprint(decoder: Prober, path: Path) -> list[Any]:
    try:
        return decoder.fingerprint(path)
    except OSError:
        return []


def _decode(
    files: dict[str, tuple[Path, list[Any]]], folder: Path, decoder: Prober, num_threads: int, *, show: bool
) -> dict[str, Entry]:
    """Return the entries of files, each with its fingerprint."""
    found: dict[str, Entry] = {}
    writing = threading.Lock()
    console = PrintableConsole(stderr=True, quiet=not show)
    with open(folder / _JOURNAL, "a") as journal, ThreadPoolExecutor(num_threads) as pool:

        def record(key: str) -> None:  # in the decoding thread, before it takes another file
            path, fingerprint = files[key]
            found[key] = {"fingerprint": fingerprint}
            try:
                found[key]["info"] = decoder.probe(path).to_json()
            except VideoError as error:
                found[key] |= {"error": error.reason} | ({"transient": True} if error.transient else {})
            with writing:
                journal.write(json.dumps([_FORMAT, key, found[key]]) + "\n")
                journal.flush()

        waiting = [pool.submit(record, key) for key in files]  # FFmpeg releases the GIL
        try:
            for future in track(as_completed(waiting), f"Indexing {len(files)} videos", len(files), console=console):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _read(folder: Path) -> dict[str, Entry]:
    """Return the entries of the index and of a killed process's journal; damaged ones are left out."""
    known: dict[str, Entry] = {}
    with contextlib.suppress(*_DAMAGED):
        content = json.loads(read_bounded(folder / INDEX, _MAX_BYTES))
        if content["format"] == _FORMAT:
            known = {key: entry for key, entry in content["videos"].items() if _is_valid(entry)}
    with contextlib.suppress(*_DAMAGED):
        for line in read_bounded(folder / _JOURNAL, _MAX_BYTES).decode(errors="replace").splitlines():
            with contextlib.suppress(*_DAMAGED):  # the last line may be incomplete
                number, key, entry = json.loads(line)
                if number == _FORMAT and isinstance(key, str) and _is_valid(entry) and not entry.get("transient"):
                    known[key] = entry
    return known


def _is_valid(entry: Any) -> bool:
    try:
        if "error" in entry:
            return isinstance(entry["error"], str)
        return _is_whole(VideoInfo.from_json(entry["info"])) and isinstance(entry["fingerprint"], list)
    except _DAMAGED:
        return False


def _is_whole(info: VideoInfo) -> bool:
    """Whether the values have their types, and the packed numbers belong to this number of frames."""
    numbers = (info.num_frames, info.width, info.height, info.stream, *info.time_base, info.header_frames or 0)
    texts = (info.codec, info.digest, info.made_with, info.container, *info.damage, *info.remarks)
    if not all(type(number) is int for number in numbers) or not all(isinstance(text, str) for text in texts):
        return False
    if min(info.num_frames, info.width, info.height, *info.time_base) < 1 or not 0 < float(info.fps) < math.inf:
        return False
    if info.num_frames > MAX_FRAMES or not _has_rate_of_stamps(info):
        return False
    stamps = unpack(info.stamps) if info.stamps else np.arange(info.num_frames)
    keys = unpack(info.key_frames) if info.key_frames else np.zeros(0, np.int64)
    return bool(len(stamps) == info.num_frames and (np.diff(stamps) > 0).all() and len(info.time_base) == 2) and bool(
        (np.diff(keys) > 0).all() and ((keys >= 0) & (keys < info.num_frames)).all()
    )


def _has_rate_of_stamps(info: VideoInfo) -> bool:
    """Whether the frame rate is the mean that the time stamps give; frames without time stamps have any."""
    if not info.stamps or info.num_frames == 1:
        return True
    stamps, (numerator, denominator) = unpack(info.stamps), info.time_base
    seconds = float(stamps[-1] - stamps[0]) * numerator / denominator
    return math.isclose(info.fps * seconds, len(stamps) - 1, rel_tol=1e-6)


def _result(entry: Entry, path: Path) -> VideoInfo | VideoError:
    if "error" in entry:
        return VideoError(path, entry["error"], transient=bool(entry.get("transient")))
    info = VideoInfo.from_json(entry["info"])
    match entry["fingerprint"]:
        case ["video", int(size), int(modified)] | ["copy", str(), int(size), int(modified)]:
            return replace(info, seen=(size, modified))
    return info


def refuse_flagged(found: dict[Path, VideoInfo | VideoError]) -> dict[Path, VideoInfo | VideoError]:
    """Return the outcomes with an error for each file that was flagged."""
    outcomes = dict(found)
    for path, info in found.items():
        try:
            if isinstance(info, VideoInfo):
                check_unflagged(path, info)
        except VideoError as error:
            outcomes[path] = error
    return outcomes


def usable(found: dict[Path, VideoInfo | VideoError]) -> dict[Path, VideoInfo]:
    """Return the videos that could be indexed."""
    return {path: info for path, info in found.items() if isinstance(info, VideoInfo)}
