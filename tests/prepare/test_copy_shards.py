"""Copies in tar files: the bytes of the single files, whatever stops the packing or damages a shard."""

import json
import os
import resource
import shutil
import signal
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from conftest import write_video
from dsn_lightning.errors import UsageError
from dsn_lightning.files import UnreadableFileError
from dsn_lightning.prepare.copies import copy_info, is_current, make_copies, write_copy
from dsn_lightning.prepare.copy_kinds import FrameCopy
from dsn_lightning.prepare.copy_shards import CopyShards, member_name
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError, VideoInfo
from helpers.faults import fill, small_disk
from helpers.small_videos import moving, tree

KIND = FrameCopy((36, 48))
NAMES = ["walk/Dr. No (1; a).mp4", "walk/caf\udce9.mp4", f"run/{'long' * 40}.mp4", "run/b.mp4", "c.mp4", "d.mp4"]
SIZE = 40_000  # bytes: two copies


class Data:
    """Videos, and the copies of them in ``output``."""

    def __init__(self, root: Path, output: Path, videos: dict[Path, VideoInfo]) -> None:
        self.root, self.output, self.videos = root, output, videos
        self.folder = output / KIND.folder

    def make(self, size: int | None = SIZE, **changes) -> dict:
        videos = changes.pop("videos", self.videos)
        options = {"decoder": PyAV(), "kind": KIND, "jobs": 1, "shard_size": size} | changes
        return make_copies(list(videos.items()), self.root, self.output, **options)

    def copy(self, path: Path) -> Path:
        return KIND.target(self.output, self.root, path)

    def change(self, path: Path, seed: int) -> None:
        """Give a video other frames, and make its single copy, as dsn-prepare would."""
        write_video(path, moving(12, seed=seed))
        self.videos[path] = PyAV().probe(path)
        write_copy(path, self.copy(path), self.videos[path], decoder=PyAV(), kind=KIND)

    def at(self, output: Path) -> "Data":
        return Data(self.root, output, dict(self.videos))


@pytest.fixture(scope="session")
def singles(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Six videos, and a single copy of each."""
    root = tmp_path_factory.mktemp("shards")
    data = Data(root / "videos", root / "out", {})
    for seed, name in enumerate(NAMES):
        (data.root / name).parent.mkdir(parents=True, exist_ok=True)
        data.change(data.root / name, seed)
    return data


@pytest.fixture(scope="session")
def whole(singles: Data, tmp_path_factory: pytest.TempPathFactory) -> Data:
    """The same, packed into three shards."""
    data = singles.at(tmp_path_factory.mktemp("shards") / "out")
    shutil.copytree(singles.output, data.output)
    data.make()
    return data


@pytest.fixture
def data(singles: Data, tmp_path: Path) -> Data:
    """Single copies that a test may pack."""
    shutil.copytree(singles.root, tmp_path / "videos")
    shutil.copytree(singles.output, tmp_path / "out")
    videos = {tmp_path / "videos" / path.relative_to(singles.root): info for path, info in singles.videos.items()}
    return Data(tmp_path / "videos", tmp_path / "out", videos)


@pytest.fixture
def packed(whole: Data, tmp_path: Path) -> Data:
    """Shards that a test may damage; the videos are those of `whole`."""
    shutil.copytree(whole.output, tmp_path / "packed")
    return whole.at(tmp_path / "packed")


def members(folder: Path) -> dict[str, bytes]:
    """Return the content of all shards, read as tar files; no name occurs twice."""
    found: dict[str, bytes] = {}
    for file in sorted(path for path in folder.glob("*.tar") if path.is_file()):
        with tarfile.open(file) as archive:
            for member in archive:
                assert member.isreg()
                assert member.name not in found
                content = archive.extractfile(member)
                assert content is not None
                found[member.name] = content.read()
    return found


def expected(data: Data) -> dict[str, bytes]:
    """Return what shards of the single copies are to contain."""
    return {
        member_name(copy.relative_to(data.folder)): copy.read_bytes()
        for copy in (data.copy(path) for path in data.videos)
    }


def test_shards_have_the_bytes_of_the_single_files(singles, whole):
    assert members(whole.folder) == expected(singles)
    assert list(members(whole.folder)) == sorted(expected(singles))
    assert sorted(p.name for p in whole.folder.rglob("*") if p.is_file()) == [
        f"shard-{i:06}.{kind}" for i in range(3) for kind in ("json", "tar")
    ]
    shards = CopyShards.read(whole.folder)
    for path, info in whole.videos.items():
        part = shards.find(whole.copy(path))
        with part.open() as content:
            assert content.read() == singles.copy(path).read_bytes()
        assert is_current(whole.copy(path), info, KIND, part)
        assert copy_info(whole.copy(path), info, part).part == part
        assert shards.path(whole.copy(path)).parent.is_relative_to(part.file)
    assert shards.find(whole.folder / "none.mp4.mov") is None


def test_names_are_keys_of_webdataset(whole):
    """Its rule: the key ends at the first dot of the last part."""
    keys = {name: name.rpartition("/")[2].partition(".") for name in members(whole.folder)}
    assert {suffix for _, _, suffix in keys.values()} == {"mov"}
    assert len(keys) == len(NAMES)
    assert member_name(Path("walk/caf\udce9.mp4.mov")) == "walk/caf%E9%2Emp4.mov"


def test_a_second_call_changes_nothing(packed, whole):
    before = tree(packed.output)
    report = packed.make()
    assert {name: report[name] for name in ("copies", "shards", "failed")} == {"copies": 6, "shards": 3, "failed": []}
    assert report["bytes"] == sum(map(len, members(packed.folder).values()))
    packed.make(size=None)
    packed.make(size=10**9)
    assert tree(packed.output) == before


def test_a_large_size_gives_one_shard_and_a_small_one_a_shard_each(singles, data):
    assert data.make(size=1)["shards"] == len(NAMES)
    assert members(data.folder) == expected(singles)
    shutil.rmtree(data.output)
    shutil.copytree(singles.output, data.output)
    assert data.make(size=10**9)["shards"] == 1
    assert members(data.folder) == expected(singles)


def killed_at(number: int, data: Data) -> bool:
    """Pack in a process that is killed when it changes the disk for this time; return whether it was."""
    process = os.fork()
    if process == 0:
        left = [number]

        def audit(event: str, arguments: tuple) -> None:
            writes = event == "open" and isinstance(arguments[1], str) and "w" in arguments[1]
            if writes or event in ("os.rename", "os.remove"):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            sys.addaudithook(audit)
            data.make()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def test_a_killed_packing_continues_to_the_same_bytes(singles, whole, tmp_path):
    number = 0
    while killed_at(number, killed := singles.at(shutil.copytree(singles.output, tmp_path / str(number)))):
        for file in killed.folder.glob(".*.partial"):  # prepare_dataset removes them
            file.unlink()
        shards = CopyShards.read(killed.folder)
        for path, info in killed.videos.items():  # nothing is lost at any time
            copy = killed.copy(path)
            assert is_current(copy, info, KIND, None if copy.exists() else shards.find(copy))
        killed.make()
        assert tree(killed.output) == tree(whole.output), number
        number += 1
    assert number > 15  # a rename and a removal or more for each file
    assert tree(killed.output) == tree(whole.output)


def test_a_changed_video_takes_its_shard_with_it(data):
    data.make()
    first = {name: (data.folder / name).stat().st_mtime_ns for name in ("shard-000001.tar", "shard-000002.tar")}
    changed = data.root / "c.mp4"
    part = CopyShards.read(data.folder).find(data.copy(changed))
    assert part.file.name == "shard-000000.tar"
    data.change(changed, seed=77)
    with pytest.raises(VideoError, match="was made before its original changed; run dsn-prepare again"):
        copy_info(data.copy(changed), data.videos[changed], part)
    fresh = data.copy(changed).read_bytes()
    before = members(data.folder)
    report = data.make()
    name = member_name(Path("c.mp4.mov"))
    assert members(data.folder) == before | {name: fresh}
    assert before[name] != fresh
    assert report["copies"] == 6
    assert sorted(p.name for p in data.folder.glob("*.tar")) == [f"shard-{i:06}.tar" for i in (1, 2, 3)]
    assert {name: (data.folder / name).stat().st_mtime_ns for name in first} == first


def test_copies_that_another_list_needs_are_kept(data):
    data.make()
    changed = data.root / "c.mp4"
    data.change(changed, seed=78)
    names = set(members(data.folder))
    data.make(videos={changed: data.videos[changed]})
    assert set(members(data.folder)) == names
    assert data.make()["copies"] == 6


def test_without_a_size_new_copies_stay_single_and_useless_shards_go(data):
    data.make(size=1)
    changed = data.root / "c.mp4"
    data.change(changed, seed=79)
    report = data.make(size=None)
    assert report["copies"] == 6
    assert report["shards"] == 5
    assert data.copy(changed).is_file()
    assert member_name(Path("c.mp4.mov")) not in members(data.folder)


def test_lost_shards_are_made_again(packed, singles):
    """One is deleted, one is cut, one has a damaged index; a tar file without an index was not complete."""
    (packed.folder / "shard-000000.tar").unlink()
    with open(packed.folder / "shard-000001.tar", "r+b") as file:
        file.truncate(20_000)
    (packed.folder / "shard-000002.json").write_text('{"format": 1, "copies"')
    (packed.folder / "shard-000007.tar").write_bytes(b"half")
    shards = CopyShards.read(packed.folder / "none")
    assert shards.find(packed.folder / "none" / "c.mp4.mov") is None
    assert packed.make()["copies"] == 6
    assert members(packed.folder) == expected(singles)
    assert not (packed.folder / "shard-000007.tar").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 2, "copies": {}}',
        '{"format": true, "copies": {}}',
        '{"format": 1.0, "copies": {}}',
        '{"format": 1}',
        '{"format": 1, "copies": [1]}',
        '{"format": 1, "copies": {"c%2Emp4.mov": 3}}',
        '{"format": 1, "copies": {"c%2Emp4.mov": [1, 2, 3]}}',
        '{"format": 1, "copies": {"c%2Emp4.mov": [-1, 2]}}',
        '{"format": 1, "copies": {"c%2Emp4.mov": [0, 0]}}',
        '{"format": 1, "copies": {"c%2Emp4.mov": [0.5, 2]}}',
        '{"format": 1, "copies": {"c%2Emp4.mov": [true, 2]}}',
        '{"format": 1, "copies": {"c%2Emp4.mov": ["0", "1"]}}',
        '{"format": 1, "copies": {"c%2Emp4.mov": [9223372036854775807, 9223372036854775807]}}',
        '{"format": 1, "copies": {"c%2Emp4.mov": [99999999999999999999999, 1]}}',
        '{"format": 1, "copies": {"/etc/passwd": [0, 1]}}',
        '{"format": 1, "copies": {"../../secret": [0, 1]}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_index_is_named_in_one_line(text, tmp_path):
    index = tmp_path / "shard-000000.json"
    index.write_text(text)
    with pytest.raises(UnreadableFileError, match="run dsn-prepare again") as caught:
        CopyShards.read(tmp_path)
    assert str(index) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400
    index.with_suffix(".tar").write_bytes(b"tar")
    assert CopyShards.recover(tmp_path).shards == {}
    assert list(tmp_path.iterdir()) == []


def test_a_folder_named_like_a_shard_is_ignored(packed):
    (packed.folder / "shard-000005.json").mkdir()
    (packed.folder / "shard-000005.tar").mkdir()
    assert CopyShards.read(packed.folder).shards.keys() == CopyShards.recover(packed.folder).shards.keys()
    assert packed.make()["copies"] == 6
    assert members(packed.folder / "shard-000005.tar") == {}


def test_a_millionth_shard_is_found(data, singles):
    data.make(size=1)
    for kind in ("json", "tar"):
        (data.folder / f"shard-000005.{kind}").rename(data.folder / f"shard-999999.{kind}")
    data.change(data.root / "c.mp4", seed=80)
    data.make(size=1)
    assert (data.folder / "shard-1000000.tar").is_file()
    shards = CopyShards.read(data.folder)
    assert shards.find(data.copy(data.root / "c.mp4")).file.name == "shard-1000000.tar"
    assert list(shards.shards)[-2:] == [data.folder / f"shard-{number}.tar" for number in (999999, 1000000)]
    assert data.make(size=1)["shards"] == 6


@pytest.mark.parametrize("start", [0, 600, 2**40, 2**62])
def test_an_index_cannot_lead_elsewhere(start, packed):
    """The bytes of an entry are those of a copy of this very video, or the copy is not readable."""
    path = packed.root / "c.mp4"
    index = packed.folder / "shard-000000.json"
    content = json.loads(index.read_text())
    name = member_name(Path("c.mp4.mov"))
    assert name in content["copies"]
    content["copies"] |= {name: [start, 2**61]}
    index.write_text(json.dumps(content))
    shards = CopyShards.read(packed.folder)
    part = shards.find(packed.copy(path))
    assert part.file == packed.folder / "shard-000000.tar"
    assert shards.path(packed.copy(path)) == part.file / name
    assert not is_current(packed.copy(path), packed.videos[path], KIND, part)
    with pytest.raises(VideoError, match="run dsn-prepare again"):
        copy_info(shards.path(packed.copy(path)), packed.videos[path], part)


def test_nothing_in_a_foreign_tar_file_is_followed(packed, tmp_path):
    """Links and devices in a tar file are never opened: only bytes of the tar file itself are read."""
    tar = packed.folder / "shard-000000.tar"
    with tarfile.open(tar, "w") as archive:
        for kind, name in ((tarfile.SYMTYPE, "c%2Emp4.mov"), (tarfile.LNKTYPE, "b.mov"), (tarfile.CHRTYPE, "d.mov")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    path = packed.root / "c.mp4"
    shards = CopyShards.read(packed.folder)
    with pytest.raises(VideoError, match="is not a readable copy"):
        copy_info(shards.path(packed.copy(path)), packed.videos[path], shards.find(packed.copy(path)))
    tar.unlink()
    os.mkfifo(tar)
    assert not is_current(packed.copy(path), packed.videos[path], KIND, shards.find(packed.copy(path)))


def test_a_failed_write_keeps_the_single_files(data, singles):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            data.make()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert tree(data.output) == tree(singles.output)
    assert data.make()["shards"] == 3


def test_a_full_disk_is_found_before_packing(data, singles, tmp_path):
    with small_disk(tmp_path / "disk", "300k") as place:
        small = data.at(place / "out")
        shutil.copytree(data.output, small.output)
        fill(place, leave=20_000)
        before = tree(small.output)
        with pytest.raises(UsageError, match=r"packing frames needs about .* for a while, but .* are free; free some"):
            small.make()
        assert tree(small.output) == before


def test_the_space_for_packing_is_said_before_the_start(singles, tmp_path, monkeypatch, capfd):
    fresh = singles.at(tmp_path / "out")
    fresh.output.mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=130_000))
    with pytest.raises(UsageError, match=r"frames need about .* and 40 kB for a while to pack them, but 130 kB are"):
        fresh.make()
    assert "for a while to pack them (130 kB free)" in capfd.readouterr().err
