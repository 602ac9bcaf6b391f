"""Parts of files: never a byte beyond them, and a video in one is read as the file that it was."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import write_video
from dsn_lightning.prepare.copies import copy_info, write_copy
from dsn_lightning.prepare.copy_kinds import FrameCopy
from dsn_lightning.video.file_part import FilePart
from dsn_lightning.video.motion_jpeg import MotionJpeg
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError, VideoInfo
from helpers.small_videos import moving


@pytest.fixture
def letters(tmp_path: Path) -> FilePart:
    (tmp_path / "a.bin").write_bytes(b"abcdefghij")
    return FilePart(tmp_path / "a.bin", 2, 5)


def test_a_fifo_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(OSError, match="Not a regular file"), FilePart(tmp_path / "a.tar", 0, 5).open():
        pass


def test_reading_stays_inside_the_part(letters):
    with letters.open() as part:
        assert part.read() == b"cdefg"
        assert part.read(3) == b""
        assert part.seek(-2, os.SEEK_END) == 3
        assert part.read(1) == b"f"
        assert part.seek(-3, os.SEEK_CUR) == part.tell() == 1
        assert part.read(99) == b"defg"
        assert part.seek(50) == 50
        assert part.read(1) == b""
        assert part.bytes_at(3, 2**40) == b"fg"
        assert part.bytes_at(-3, 1) == b"c"
        assert part.bytes_at(9, 1) == part.bytes_at(1, -1) == b""


def test_a_part_of_a_short_file_ends_with_the_file(letters):
    with FilePart(letters.file, 8, 100).open() as part:
        assert part.read() == b"ij"
    with FilePart(letters.file, 2**40, 100).open() as part:
        assert part.read() == b""
    assert FilePart.whole(letters.file) == FilePart(letters.file, 0, 10)


@pytest.fixture
def two_videos(tmp_path: Path) -> list[tuple[Path, VideoInfo, Path, VideoInfo]]:
    """Two videos of stored frames: the file and what is known of it, and the same as a part of a file of both."""
    files = []
    for i in range(2):
        original, file = tmp_path / f"{i}.mkv", tmp_path / f"{i}.mov"
        write_video(original, moving(12 + i, seed=i))
        info = PyAV().probe(original)
        write_copy(original, file, info, decoder=PyAV(), kind=FrameCopy((36, 48)))
        files.append((file, copy_info(file, info)))
    both, start, found = tmp_path / "both", 0, []
    both.write_bytes(b"".join(file.read_bytes() for file, _ in files))
    for file, info in files:
        part = FilePart(both, start, file.stat().st_size)
        found.append((file, info, both / file.name, replace(info, part=part)))
        start += part.size
    return found


@pytest.mark.parametrize("decoder", [MotionJpeg(), PyAV()])
def test_a_video_in_a_part_is_read_as_the_file(decoder, two_videos):
    for file, info, name, info_of_part in two_videos:
        for wanted in ([0, 3, 4, 11], []):
            expected = decoder.read(file, wanted, (36, 48), info)
            assert np.array_equal(decoder.read(name, wanted, (36, 48), info_of_part), expected)


def test_faults_of_a_part_name_the_video(two_videos):
    (*_, first, info), (*_, second, other) = two_videos
    both = info.part.file
    status = both.stat()
    seen = replace(info, seen=(status.st_size, status.st_mtime_ns))
    assert len(MotionJpeg().read(first, [5], (36, 48), seen)) == 1
    cut = replace(info, part=replace(info.part, size=info.part.size - 300))  # its index is at the end
    for wrong in (cut, replace(info, part=replace(info.part, start=7)), replace(info, part=FilePart(both, 2**60, 9))):
        with pytest.raises(VideoError, match=r"both/0\.mov: "):
            MotionJpeg().read(first, [5], (36, 48), wrong)
    with open(both, "r+b") as file:
        file.truncate(both.stat().st_size - 500)
    with pytest.raises(VideoError, match=r"both/0\.mov: has changed since it was indexed"):
        MotionJpeg().read(first, [5], (36, 48), seen)
    assert len(MotionJpeg().read(first, [5], (36, 48), info)) == 1
    with pytest.raises(VideoError, match=r"both/1\.mov: "):
        MotionJpeg().read(second, [5], (36, 48), other)
    both.unlink()
    for unread in (info, seen):
        with pytest.raises(VideoError, match=r"both/0\.mov: no such video file") as caught:
            MotionJpeg().read(first, [5], (36, 48), unread)
        assert caught.value.transient


def test_an_image_that_leads_out_of_its_part_is_damaged(two_videos):
    """The first video's index says that the images lie where those of the second one are."""
    (file, _, name, info), _ = two_videos
    content = bytearray(file.read_bytes())
    at = content.index(b"stco")
    offsets = np.frombuffer(content, ">u4", int.from_bytes(content[at + 8 : at + 12], "big"), at + 12)
    content[at + 12 : at + 12 + offsets.nbytes] = (offsets + len(content)).astype(">u4").tobytes()
    both = info.part.file
    both.write_bytes(bytes(content) + both.read_bytes()[len(content) :])
    with pytest.raises(VideoError, match=r"both/0\.mov: frame 0 is damaged"):
        MotionJpeg().read(name, [0, 1, 11], (36, 48), info)


def test_where_a_part_lies_is_not_stored(two_videos):
    (*_, info), _ = two_videos
    content = info.to_json()
    assert "part" not in content
    assert VideoInfo.from_json(content) == replace(info, part=None)
    for name in ("part", "seen"):
        with pytest.raises(ValueError, match="not stored"):
            VideoInfo.from_json(content | {name: [1, 2]})
