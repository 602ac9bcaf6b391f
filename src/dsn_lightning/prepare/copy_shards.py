"""Copies packed into shards: a few large tar files instead of a small file for each video.

A shard is a plain tar file in the layout of WebDataset. `shard-000000.json` beside `shard-000000.tar` says where each
copy lies, so that its frames are read in place. It is written when the tar file is on disk: a tar file
without it is incomplete. The metadata of a copy say whether it is current, as for single files.
"""

import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.progress import track

from dsn_lightning.files import UnreadableFileError, is_inside, parse_json, read_bounded
from dsn_lightning.prepare.partial_files import replacing
from dsn_lightning.text_tables import PrintableConsole
from dsn_lightning.video.file_part import FilePart

_FORMAT = 1
_FILE = re.compile(r"shard-([0-9]{6,})\.(json|tar)")
_MAX_INDEX_BYTES = 2**27
_DAMAGED = (ValueError, TypeError, LookupError, AttributeError)
"""What reading a damaged index raises."""

Members = dict[str, FilePart]
"""Name in a shard -> where the copy lies."""


def member_name(copy: Path) -> str:
    """Return the name in a shard of a copy with this path below the folder of copies.

    WebDataset takes the name up to the first dot of its last part as the key of a sample. All characters except ASCII
    letters, digits, and ``._-~`` are percent-encoded as in a URL, and so are the dots of the last part.

    >>> member_name(Path("v1.0/Dr. No.mp4.mov"))
    'v1.0/Dr%2E%20No%2Emp4.mov'
    """
    *folders, name = (quote(os.fsencode(part), safe="") for part in copy.with_suffix("").parts)
    return "/".join([*folders, name.replace(".", "%2E") + copy.suffix])


@dataclass(frozen=True)
class Packing:
    """What is to be packed.

    Attributes:
        groups: the copies of each new shard, in their order.
        dissolved: shards to remove afterwards; their other copies are out of date.
        extra_bytes: disk space that is needed temporarily.
    """

    groups: list[Members]
    dissolved: list[Path]
    extra_bytes: int


class CopyShards:
    """The shards in a folder of copies.

    Args:
        folder: the folder.
        shards: tar file -> its copies, in the order in which the files were written.
        incomplete: tar files that have lost copies.
    """

    def __init__(self, folder: Path, shards: Mapping[Path, Members], incomplete: Iterable[Path] = ()) -> None:
        self.folder = folder
        self.shards = dict(shards)
        self._incomplete = set(incomplete)
        self._places = {name: part for members in self.shards.values() for name, part in members.items()}

    @classmethod
    def read(cls, folder: Path) -> "CopyShards":
        """Read the indexes of a folder; `UnreadableFileError` if one is damaged."""
        return cls(folder, {index.with_suffix(".tar"): _read_index(index) for index in _files(folder, "json")})

    @classmethod
    def recover(cls, folder: Path) -> "CopyShards":
        """Read the indexes of a folder in which no other process writes, and remove what is damaged or incomplete."""
        shards, incomplete = {}, set()
        for index in _files(folder, "json"):
            tar = index.with_suffix(".tar")
            try:
                members, size = _read_index(index), tar.stat().st_size
            except (UnreadableFileError, FileNotFoundError):
                index.unlink()
                continue
            shards[tar] = {name: part for name, part in members.items() if part.start + part.size <= size}
            if len(shards[tar]) < len(members):
                incomplete.add(tar)
        for tar in _files(folder, "tar"):
            if tar not in shards:
                tar.unlink()
        return cls(folder, shards, incomplete)

    def find(self, copy: Path) -> FilePart | None:
        """Return where the copy with this path lies, in the newest of the shards that contain it."""
        return self._places.get(self._name(copy))

    def path(self, copy: Path) -> Path:
        """Return the path that names a packed copy: its shard, and its name there."""
        name = self._name(copy)
        return self._places[name].file / name

    def plan(self, copies: Iterable[Path], outdated: Iterable[Path], size: int | None) -> Packing:
        """Return how to pack the single files ``copies`` into shards of at most ``size`` bytes; None: not at all.

        A shard with one of the copies ``outdated`` is dissolved: its other copies are packed with ``copies``. If
        nothing is packed, only shards without other copies are dissolved.
        """
        dead = {self._name(copy) for copy in outdated}
        live = {
            tar: {n: part for n, part in members.items() if n not in dead and self._places[n] is part}
            for tar, members in self.shards.items()
        }
        if size is None:
            return Packing([], [tar for tar, members in live.items() if not members], 0)
        dissolved = [t for t, members in live.items() if t in self._incomplete or len(members) < len(self.shards[t])]
        moved = {name: part for tar in dissolved for name, part in live[tar].items()}
        groups = list(_groups(moved | {self._name(copy): FilePart.whole(copy) for copy in copies}, size))
        largest = max((_tar_bytes(group.values()) for group in groups), default=0)
        return Packing(groups, dissolved, largest + _tar_bytes(moved.values()))

    def pack(self, packing: Packing) -> None:
        """Write the shards of a plan; remove the single files in them and the dissolved shards.

        Raises:
            OSError: a shard cannot be written; nothing is left of it, and its single files are kept.
        """
        console = PrintableConsole(stderr=True, quiet=not packing.groups)
        for group in track(packing.groups, "Writing shards", console=console):
            number = max(map(_number, self.shards), default=-1) + 1
            tar = self.folder / f"shard-{number:06}.tar"
            self.shards[tar] = members = _write_shard(tar, group)
            self._places |= members
            for source in group.values():
                if source.file not in self.shards:
                    source.file.unlink()
        for tar in packing.dissolved:
            tar.with_suffix(".json").unlink()  # first: without it, the tar file counts for nothing
            tar.unlink()
            del self.shards[tar]

    def _name(self, copy: Path) -> str:
        return member_name(copy.relative_to(self.folder))


def _files(folder: Path, kind: str) -> list[Path]:
    """Return the tar files or indexes, the oldest first; folders of such names are ignored."""
    found = [f for f in folder.glob(f"shard-*.{kind}") if _FILE.fullmatch(f.name) and not f.is_dir()]
    return sorted(found, key=lambda file: (_number(file), file.name))


def _number(file: Path) -> int:
    return int(file.stem.rpartition("-")[2])


def _read_index(index: Path) -> Members:
    """Return the copies of a shard; whether the tar file has them is not checked."""
    tar = index.with_suffix(".tar")
    try:
        content = parse_json(read_bounded(index, _MAX_INDEX_BYTES))
        if (version := content["format"]) != _FORMAT or type(version) is not int:
            raise ValueError(f"expected format {_FORMAT}, got {version!r:.40}")
        if outside := [name for name in content["copies"] if not is_inside(name)]:
            raise ValueError(f"expected paths inside the folder, got {outside[0]:.40}")
        return {name: FilePart(tar, *_place(place)) for name, place in content["copies"].items()}
    except FileNotFoundError:  # removed just now
        return {}
    except UnreadableFileError:
        raise
    except _DAMAGED as error:
        raise UnreadableFileError(index, f"is a damaged index of a shard ({error}); run dsn-prepare again") from error


def _place(place: Any) -> tuple[int, int]:
    start, size = place
    if type(start) is not int or type(size) is not int or start < 0 or size < 1 or start + size >= 2**63:
        raise ValueError(f"expected the first byte and the size of a copy, got {start!r:.40}, {size!r:.40}")
    return start, size


def _groups(sources: Members, size: int) -> Iterator[Members]:
    """Divide copies, in the order of their names, into shards of at most ``size`` bytes, or of a single copy."""
    group: Members = {}
    room = size
    for name, source in sorted(sources.items()):
        needed = _tar_bytes([source])
        if group and needed > room:
            yield group
            group, room = {}, size
        group[name] = source
        room -= needed
    if group:
        yield group


def _tar_bytes(parts: Iterable[FilePart]) -> int:
    """Return the bytes that copies take in a tar file, with their headers."""
    return sum(tarfile.BLOCKSIZE + _padded(part.size) for part in parts)


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _write_shard(tar: Path, group: Members) -> Members:
    """Write a shard and its index, and return where the copies lie; the same bytes each time."""
    members = {}
    with replacing(tar) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, source in group.items():
            header = tarfile.TarInfo(name)  # owner and time are 0
            header.size = source.size
            with source.open() as content:
                archive.addfile(header, content)
            members[name] = FilePart(tar, file.tell() - _padded(source.size), source.size)
    places = {name: [part.start, part.size] for name, part in members.items()}
    with replacing(tar.with_suffix(".json")) as file:
        file.write((json.dumps({"format": _FORMAT, "copies": places}) + "\n").encode())
    return members
