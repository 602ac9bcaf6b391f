"""dsn-prepare: what it finds in a data set, what it writes, and that interrupted work continues."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from conftest import write_video
from dsn_lightning.cli import prepare as command
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.preparation import check_output
from dsn_lightning.video.pyav_decoder import PyAV
from helpers import faults
from helpers.processes import start
from helpers.small_videos import moving, tree
from helpers.tasks import wait_for


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two classes of three videos: the last of each is tested on; one is cut off, one is on both sides."""
    root = tmp_path / "videos"
    for c, name in enumerate(("run", "walk")):
        (root / name).mkdir(parents=True)
        for i in range(3):
            write_video(root / name / f"{i}.mkv", moving(14 + i, seed=10 * c + i))
    shutil.copy(root / "run" / "0.mkv", root / "run" / "2.mkv")
    (root / "walk" / "1.mkv").unlink()
    write_video(root / "walk" / "1.mp4", moving(15))
    whole = (root / "walk" / "1.mp4").read_bytes()
    (root / "walk" / "1.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "train.txt").write_text("run/0.mkv\nrun/1.mkv\nwalk/0.mkv\nwalk/1.mp4\n")
    (tmp_path / "test.txt").write_text("run/2.mkv\nwalk/2.mkv\n")
    return root


def arguments(videos: Path, *more: str) -> list[str]:
    lists = [f"dataset.{side}_list={videos.parent / f'{side}.txt'}" for side in ("train", "test")]
    output = f"output={videos.parent / 'out'}"
    return ["dataset=folder", f"dataset.root={videos}", *lists, output, "jobs=1", *more]


class Prepare:
    """Calls dsn-prepare in this process; the last call's output is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd

    def __call__(self, *arguments: str, expect: int = 0) -> None:
        self.monkeypatch.setattr(sys, "argv", ["dsn-prepare", *arguments])
        self.capfd.readouterr()
        code = 0
        try:
            command.main()
        except SystemExit as end:
            code = int(end.code or 0)
        self.out, self.err = self.capfd.readouterr()
        assert code == expect, self.out + self.err


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Prepare:
    monkeypatch.chdir(tmp_path)
    return Prepare(monkeypatch, capfd)


def test_the_report_names_what_is_wrong(videos, prepare):
    before = tree(videos)
    prepare(*arguments(videos))
    report = json.loads((videos.parent / "out" / "prepare_report.json").read_text())
    assert report["totals"] == {"listed": 6, "present": 6, "missing": 0, "bad": 1, "flagged": 0}
    assert report["subsets"]["train"]["classes"]["walk"] == {
        "listed": 2,
        "present": 2,
        "missing": 0,
        "bad": 1,
        "flagged": 0,
    }
    (bad,) = report["bad"]
    assert bad["video"] == "walk/1.mp4"
    assert bad["subsets"] == ["train"]
    assert str(videos) not in bad["reason"]
    assert report["leakage"] == {"groups": [], "identical": [{"train": ["run/0.mkv"], "test": ["run/2.mkv"]}]}
    assert report["frames"] == {"min": 14, "median": 14, "mean": 14.6, "max": 16}
    assert report["videos"]["run/1.mkv"] == {
        "subsets": ["train"],
        "classes": ["run"],
        "frames": 15,
        "fps": 25.0,
        "seconds": 0.6,
        "width": 64,
        "height": 48,
        "codec": "h264",
    }
    assert "walk/1.mp4" in prepare.out
    assert "same content in several subsets" in prepare.out
    assert tree(videos) == before
    assert sorted(p.name for p in videos.parent.iterdir()) == ["out", "test.txt", "train.txt", "videos"]


def test_the_command_does_not_import_torch(videos):
    """PyTorch takes seconds to import; the command runs in a new process here."""
    code = "import sys; from dsn_lightning.cli.prepare import main; main(); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments(videos, "steps=[check,transcode]")],
        cwd=videos.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"


def test_a_damaged_video_that_decodes_is_flagged(videos, prepare):
    content = bytearray((videos / "walk" / "0.mkv").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    (videos / "walk" / "0.mkv").write_bytes(content)
    prepare(*arguments(videos))
    report = json.loads((videos.parent / "out" / "prepare_report.json").read_text())
    (flagged,) = report["flagged"]
    assert flagged["video"] == "walk/0.mkv"
    assert any("corrupt frame" in message for message in flagged["damage"])
    assert report["totals"]["flagged"] == 1


def test_the_default_output_is_the_folder_that_training_reads(videos, prepare, tmp_path):
    keys = [argument for argument in arguments(videos) if not argument.startswith("output=")]
    prepare(*keys, f"dataset.reading.prepared={tmp_path / 'prepared'}")
    assert (tmp_path / "prepared" / "prepare_report.json").is_file()


def test_strict_fails_on_the_findings_of_the_report(videos, prepare):
    prepare(*arguments(videos, "strict=true"), expect=1)
    assert "1 bad, 1 contents in several subsets" in prepare.err


def test_folders_of_images_are_checked(tmp_path, prepare):
    for c, name in enumerate(("run", "walk")):
        for i in range(2):
            folder = tmp_path / "videos" / name / str(i)
            folder.mkdir(parents=True)
            for number, frame in enumerate(moving(3 + i, seed=10 * c + i), start=1):
                Image.fromarray(frame).save(folder / f"img_{number:05}.jpg")
    decoder = "dataset/reading/decoder=frames"
    prepare("dataset=folder", f"dataset.root={tmp_path / 'videos'}", f"output={tmp_path / 'out'}", "jobs=1", decoder)
    report = json.loads((tmp_path / "out" / "prepare_report.json").read_text())
    assert {video: figures["frames"] for video, figures in report["videos"].items()} == {
        "run/0": 3,
        "run/1": 4,
        "walk/0": 3,
        "walk/1": 4,
    }
    for side, name in (("train", "0"), ("test", "1")):
        (tmp_path / f"{side}.txt").write_text(f"run/{name}.avi\nwalk/{name}.avi\n")
    prepare(*arguments(tmp_path / "videos", decoder))
    report = json.loads((tmp_path / "out" / "prepare_report.json").read_text())
    assert {video: figures["frames"] for video, figures in report["videos"].items()} == {
        "run/0.avi": 3,
        "run/1.avi": 4,
        "walk/0.avi": 3,
        "walk/1.avi": 4,
    }


def test_a_second_call_makes_only_what_changed(videos, prepare):
    output = videos.parent / "out"
    call = arguments(videos, "steps=[check,transcode,flow]", "flow.size=[32,40]")
    prepare(*call)
    first = tree(output)
    made = {p: p.stat().st_mtime_ns for kind in ("small", "flow") for p in (output / kind).rglob("*.m??")}
    assert len(made) == 10
    assert "small copies: 5 of 5 to make" in prepare.err
    prepare(*call)
    assert {p: p.stat().st_mtime_ns for p in made} == made
    assert "to make" not in prepare.err
    assert "Indexing" not in prepare.err
    assert tree(output) == first

    write_video(videos / "walk" / "0.mkv", moving(17, seed=99))
    prepare(*call)
    assert {p.name for p, then in made.items() if p.stat().st_mtime_ns != then} == {"0.mkv.mp4", "0.mkv.mkv"}
    assert "small copies: 1 of 5 to make" in prepare.err
    prepare(*call, "steps=[transcode]", "transcode.keyint=4")
    assert "small copies: 5 of 5 to make" in prepare.err
    report = json.loads((output / "prepare_report.json").read_text())
    assert report["small"]["settings"] == {"short_side": 128, "keyint": 4, "crf": 18}
    assert report["small"]["copies"] == 5
    assert report["small"]["bytes"] == sum(p.stat().st_size for p in (output / "small").rglob("*.mp4"))


@pytest.mark.parametrize("output", ["videos", "videos/run", "videos/run/new", "videos/prepared"])
def test_an_output_among_the_videos_is_refused(videos, prepare, output):
    before = tree(videos)
    prepare(*arguments(videos), f"output={videos.parent / output}", "steps=[transcode]", expect=2)
    assert "is among the videos" in prepare.err
    assert tree(videos) == before


def test_an_output_with_videos_where_copies_go_is_refused(videos, prepare):
    inside = videos.parent / "small" / "videos"
    inside.parent.mkdir()
    videos.rename(inside)
    prepare(*arguments(videos), f"dataset.root={inside}", f"output={videos.parent}", "steps=[transcode]", expect=2)
    assert "copies would go where videos are" in prepare.err


def test_the_default_output_works_for_videos_in_the_home_folder(videos, prepare, monkeypatch):
    call = [argument for argument in arguments(videos) if not argument.startswith("output=")]
    monkeypatch.setenv("HOME", str(videos))
    prepare(*call)
    assert len(list(videos.glob(".cache/dsn_lightning/folder-*/prepare_report.json"))) == 1
    monkeypatch.setenv("HOME", str(videos / "run"))
    prepare(*call, expect=2)
    assert f"is among the videos ({videos / 'run'})" in prepare.err


@pytest.mark.parametrize(
    ("output", "refused"),
    [
        ("/home/me/.cache/out", None),
        ("/home/me/films/out", "/home/me/films"),
        ("/home/me/films", "/home/me/films"),
        ("/disk/films/run/out", "/disk/films/run"),
        ("/disk/films/out", None),
        ("/disk", None),
        ("/", "/"),
    ],
)
def test_videos_on_two_disks_forbid_only_their_folders(monkeypatch, output, refused):
    monkeypatch.setenv("HOME", "/home/me")
    paths = ("/home/me/films/a.mp4", "/disk/films/run/b.mp4", "/disk/films/walk/c.mp4")
    records = {"train": [VideoRecord(path, Path(path), (0,)) for path in paths], "val": [], "test": []}
    source = SimpleNamespace(name="two", root=Path("/"))
    if refused is None:
        check_output(Path(output), source, records)
        return
    with pytest.raises(UsageError, match=re.escape(f"is among the videos ({refused})")):
        check_output(Path(output), source, records)


def test_copies_do_not_mix_with_videos_on_another_disk(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    paths = ("/home/me/out/small/a.mp4", "/disk/b.mp4")
    records = {"train": [VideoRecord(path, Path(path), (0,)) for path in paths], "val": [], "test": []}
    with pytest.raises(UsageError, match="copies would go where videos are"):
        check_output(Path("/home/me/out"), SimpleNamespace(name="two", root=Path("/")), records)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("steps=[chek]", "steps=[chek]: must be a list of one or more of check, transcode, frames, flow"),
        ("jobs=0", "jobs=0: must be a whole number of at least 1"),
        ("strict=no", "strict=no: must be true or false"),
        ("dataset.reading.decoder.deadline=null", "decoder.deadline=None: must be seconds"),
        ("transcode.crf=60", "at least 0 and at most 51"),
        ("frames.size=128", "frames.size=128: must be [height, width]"),
        ("frames.resize=crop", "frames.resize=crop: must be squash, short_side or letterbox"),
        ("frames.quality=101", "frames.quality=101: must be a whole number from 1 to 100"),
        ("frames.shard_size=0", "frames.shard_size=0: must be a whole number of at least 1"),
        ("flow.size=128", "must be [height, width]"),
        ("flow.bound=-1", "must be a number above 0"),
    ],
)
def test_wrong_values_are_refused_with_their_key(videos, prepare, key, message):
    prepare(*arguments(videos), key, expect=2)
    assert message in prepare.err
    assert len(prepare.err.splitlines()) == 1


def test_a_call_beside_another_one_is_refused(videos, prepare):
    output = videos.parent / "out"
    call = arguments(videos, "steps=[check,frames]", "frames.size=[32,40]", "frames.shard_size=1")
    prepare(*call)
    assert "frames: 5 videos" in prepare.out
    assert ", 1 shard\n" in prepare.out
    before = tree(output)
    write_video(videos / "walk" / "0.mkv", moving(17, seed=99))
    with FileLock(output / ".prepare.lock"):
        prepare(*call, expect=2)
    assert "another dsn-prepare is working in this folder" in prepare.err
    assert tree(output) == before


def deceptive(num_frames: int) -> np.ndarray:
    """Frames of which only those away from the middle need room."""
    frames = np.random.default_rng(0).integers(0, 256, (num_frames, 128, 128, 3)).astype(np.uint8)
    frames[num_frames // 2 - 17 : num_frames // 2 + 17] = 128
    return frames


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    with faults.small_disk(tmp_path / "disk", "400k") as place:
        yield place


def test_a_full_disk_gives_one_line_and_no_partial_file(tmp_path, prepare, small_disk):
    for name in ("run", "walk"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        for i in range(2):
            write_video(tmp_path / "videos" / name / f"{i}.mkv", deceptive(80) if i else moving(12))
    call = [
        "dataset=folder",
        f"dataset.root={tmp_path / 'videos'}",
        f"output={small_disk / 'out'}",
        "jobs=1",
        "steps=[transcode]",
        "transcode.crf=10",
    ]
    prepare(*call, expect=2)
    last = prepare.err.splitlines()[-1]
    assert last.startswith(
        f"dsn-prepare: error: output={small_disk / 'out'}: the disk is full (No space left on device)"
    )
    assert not list(small_disk.rglob("*.partial"))
    kept = list(small_disk.rglob("*.mp4"))
    for path in kept:
        assert PyAV().probe(path).num_frames in (12, 80)
    (small_disk / "filler").write_bytes(b"0" * (shutil.disk_usage(small_disk).free - 8000))
    prepare(*call, expect=2)
    assert "small copies need about" in prepare.err
    assert set(small_disk.rglob("*.mp4")) == set(kept)


NUM_VIDEOS = 8


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A data set with some seconds of work."""
    root = tmp_path / "videos"
    for c, name in enumerate(("run", "walk")):
        (root / name).mkdir(parents=True)
        for i in range(NUM_VIDEOS // 2):
            write_video(root / name / f"{i}.mkv", moving(24, seed=10 * c + i))
    return root


def start_on(root: Path, output: Path) -> BaseProcess:
    (output / ".prepare.lock").unlink(missing_ok=True)  # its return shows that work has begun
    logs = root.parent / "logs"
    logs.mkdir(exist_ok=True)
    keys = ["dataset=folder", f"dataset.root={root}", f"output={output}", "steps=[check,transcode,flow]", "jobs=2"]
    return start("dsn-prepare", *keys, "flow.size=[64,86]", cwd=root.parent, output=logs)


def num_copies(output: Path) -> int:
    return len([p for p in output.rglob("*.m??") if p.suffix in (".mp4", ".mkv")])


def wait_until_made(process: BaseProcess, output: Path, count: int) -> None:
    begun = (output / ".prepare.lock").exists
    wait_for(lambda: not process.is_alive() or (begun() and num_copies(output) >= count), 90)


def kill_and_restart(root: Path, counts: Sequence[int]) -> None:
    """Kill the command at each number of copies, let it finish, and compare with an uninterrupted call."""
    before = tree(root)
    whole, killed = root.parent / "whole", root.parent / "killed"
    codes = []
    for count in counts:
        process = start_on(root, killed)
        wait_until_made(process, killed, count)
        time.sleep(random.Random(count).random() / 20)
        process.kill()
        process.join()
        codes.append(process.exitcode)
    assert codes.count(-signal.SIGKILL) >= 3, codes  # the last ones may have come too late
    for output in (killed, whole):
        process = start_on(root, output)
        process.join()
        assert process.exitcode == 0, (root.parent / "logs" / "err").read_text()
    assert num_copies(whole) == 2 * NUM_VIDEOS
    assert tree(killed) == tree(whole)
    assert tree(root) == before


def test_a_killed_call_continues_to_the_same_bytes(many):
    kill_and_restart(many, [0, 3, 8])


@pytest.mark.slow
def test_a_call_killed_ten_times_ends_with_the_same_bytes(many):
    kill_and_restart(many, [0, *sorted(random.Random(0).sample(range(1, 12), 9))])


def test_ctrl_c_ends_with_130_and_no_partial_file(many):
    output = many.parent / "out"
    process = start_on(many, output)
    wait_until_made(process, output, 3)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    err = (many.parent / "logs" / "err").read_text()
    assert "the same call goes on from there" in err
    assert "Traceback" not in err
    assert not list(output.rglob("*.partial"))
