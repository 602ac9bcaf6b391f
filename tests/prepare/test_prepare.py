"""dsn-prepare: what it finds in a data set, what it writes, and that nothing stops it halfway for good."""

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from conftest import write_video
from dsn_lightning.commands import cli
from dsn_lightning.commands.prepare import refuse_overwriting
from dsn_lightning.datasets.records import VideoRecord
from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.dataset_report import dataset_report
from dsn_lightning.prepare.worker_pool import DiskFullError, run_each
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoError, VideoInfo
from helpers.processes import start
from helpers.small_videos import moving, tree
from helpers.tasks import do, hold


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
            cli.prepare()
        except SystemExit as end:
            code = int(end.code or 0)
        self.out, self.err = self.capfd.readouterr()
        assert code == expect, self.out + self.err


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Prepare:
    monkeypatch.chdir(tmp_path)
    return Prepare(monkeypatch, capfd)


def test_report_names_what_is_wrong(videos, prepare):
    before = tree(videos)
    prepare(*arguments(videos))
    report = json.loads((videos.parent / "out" / "prepare_report.json").read_text())
    assert report["totals"] == {"listed": 6, "present": 6, "missing": 0, "bad": 1, "flagged": 0}
    assert report["subsets"]["train"]["classes"]["walk"] == {
        "listed": 2, "present": 2, "missing": 0, "bad": 1, "flagged": 0
    }  # fmt: skip
    (bad,) = report["bad"]
    assert bad["video"] == "walk/1.mp4"
    assert bad["subsets"] == ["train"]
    assert str(videos) not in bad["reason"]
    assert report["leakage"] == {"groups": [], "identical": [{"train": ["run/0.mkv"], "test": ["run/2.mkv"]}]}
    assert report["frames"] == {"min": 14, "median": 14, "mean": 14.6, "max": 16}
    assert report["videos"]["run/1.mkv"] == {
        "subsets": ["train"], "classes": ["run"], "frames": 15, "fps": 25.0, "seconds": 0.6, "width": 64, "height": 48,
        "codec": "h264",
    }  # fmt: skip
    assert "walk/1.mp4" in prepare.out
    assert "same content on several sides" in prepare.out
    assert tree(videos) == before
    assert sorted(p.name for p in videos.parent.iterdir()) == ["out", "test.txt", "train.txt", "videos"]


def test_video_with_damage_that_decodes_all_the_same_is_flagged(videos, prepare):
    content = bytearray((videos / "walk" / "0.mkv").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    (videos / "walk" / "0.mkv").write_bytes(content)
    prepare(*arguments(videos))
    report = json.loads((videos.parent / "out" / "prepare_report.json").read_text())
    (flagged,) = report["flagged"]
    assert flagged["video"] == "walk/0.mkv"
    assert any("corrupt frame" in message for message in flagged["damage"])
    assert report["totals"]["flagged"] == 1


def test_what_training_is_told_to_read_from_is_written_to(videos, prepare, tmp_path):
    own = [argument for argument in arguments(videos) if not argument.startswith("output=")]
    prepare(*own, f"dataset.reading.prepared={tmp_path / 'prepared'}")
    assert (tmp_path / "prepared" / "prepare_report.json").is_file()


def test_strict_fails_on_what_the_report_names(videos, prepare):
    prepare(*arguments(videos, "strict=true"), expect=1)
    assert "1 bad, 1 contents on several sides of the split" in prepare.err


def test_report_counts_missing_videos_and_groups_on_both_sides(tmp_path):
    def record(name: str, label: int, group: str) -> VideoRecord:
        return VideoRecord(name, tmp_path / name, (label,), group=group)

    info = VideoInfo(20, 25.0, 64, 48, header_frames=23, codec="h264", digest="1")
    other = VideoInfo(30, 25.0, 64, 48, digest="2", damage=("h264: error while decoding MB",))
    records = {
        "train": [record("a", 0, "film 1"), record("b", 1, "film 2"), record("gone", 1, "film 3")],
        "val": [],
        "test": [record("c", 1, "film 2"), record("also gone", 0, "film 1")],
    }
    found = {tmp_path / "a": info, tmp_path / "b": other, tmp_path / "c": VideoError(tmp_path / "c", "is truncated")}
    report = dataset_report("some", ["x", "y"], records, found)
    assert report["missing"] == {"train": ["gone"], "test": ["also gone"]}
    assert report["subsets"]["test"]["classes"]["x"] == {
        "listed": 1, "present": 0, "missing": 1, "bad": 0, "flagged": 0
    }  # fmt: skip
    assert report["leakage"] == {"groups": [{"group": "film 2", "train": ["b"], "test": ["c"]}], "identical": []}
    assert report["header_mismatches"] == [{"video": "a", "header": 23, "decoded": 20}]
    assert report["flagged"] == [{"video": "b", "subsets": ["train"], "damage": ["h264: error while decoding MB"]}]
    assert report["bad"] == [{"video": "c", "subsets": ["test"], "reason": "is truncated"}]
    assert "val" not in report["subsets"]


def test_folders_of_images_are_checked_too(tmp_path, prepare):
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
        "run/0": 3, "run/1": 4, "walk/0": 3, "walk/1": 4
    }  # fmt: skip
    for side, name in (("train", "0"), ("test", "1")):
        (tmp_path / f"{side}.txt").write_text(f"run/{name}.avi\nwalk/{name}.avi\n")
    prepare(*arguments(tmp_path / "videos", decoder))
    report = json.loads((tmp_path / "out" / "prepare_report.json").read_text())
    assert {video: figures["frames"] for video, figures in report["videos"].items()} == {
        "run/0.avi": 3, "run/1.avi": 4, "walk/0.avi": 3, "walk/1.avi": 4
    }  # fmt: skip


def report_of_parts(tmp_path: Path, parts: dict[str, list[tuple[str, tuple[float, float] | None]]]) -> dict:
    """A report of parts of files of 20 s: ``a``, a copy of it, and another one."""
    info = VideoInfo(500, 25.0, 64, 48, digest="1")
    found = {tmp_path / "a": info, tmp_path / "copy": info, tmp_path / "b": replace(info, digest="2")}
    records = {
        subset: [
            VideoRecord(name if segment is None else "{}#{:g}-{:g}".format(name, *segment), tmp_path / name, (0,),
                        segment=segment)
            for name, segment in parts.get(subset, [])
        ]
        for subset in ("train", "val", "test")
    }  # fmt: skip
    return dataset_report("parts", ["x"], records, found)


def test_parts_of_a_file_that_share_frames_are_the_same_content(tmp_path):
    report = report_of_parts(tmp_path, {
        "train": [("a", (0, 10)), ("a", (15, 16)), ("b", (0, 5)), ("b", (4, 8))],
        "test": [("copy", (5, 15)), ("a", (16, 18)), ("b", (8, 20))],
    })  # fmt: skip
    assert report["leakage"]["identical"] == [{"train": ["a#0-10"], "test": ["copy#5-15"]}]
    assert report["repeated"] == []
    report = report_of_parts(tmp_path, {"train": [("a", (0, 2)), ("a", (3, 4)), ("b", (0, 2))],
                                        "val": [("b", (1, 2))], "test": [("copy", None)]})  # fmt: skip
    assert report["leakage"]["identical"] == [
        {"train": ["a#0-2", "a#3-4"], "test": ["copy"]}, {"train": ["b#0-2"], "val": ["b#1-2"]}
    ]  # fmt: skip
    assert report_of_parts(tmp_path, {"train": [("a", (0, 30)), ("copy", None)]})["repeated"] == [["a#0-30", "copy"]]


def test_parts_behind_the_end_of_their_file_are_bad(tmp_path):
    report = report_of_parts(tmp_path, {"train": [("a", (0, 10)), ("a", (30, 40))], "test": [("copy", (30, 50))]})
    assert report["totals"] == {"listed": 3, "present": 3, "missing": 0, "bad": 2, "flagged": 0}
    assert report["subsets"]["test"]["classes"]["x"]["bad"] == 1
    assert report["bad"] == [
        {"video": "a#30-40", "subsets": ["train"], "reason": "no frame in its segment, 30 to 40 s"},
        {"video": "copy#30-50", "subsets": ["test"], "reason": "no frame in its segment, 30 to 50 s"},
    ]
    assert list(report["videos"]) == ["a#0-10"]
    assert report["leakage"]["identical"] == []


def test_second_call_makes_only_what_changed(videos, prepare):
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
def test_output_among_the_videos_is_refused(videos, prepare, output):
    before = tree(videos)
    prepare(*arguments(videos), f"output={videos.parent / output}", "steps=[transcode]", expect=2)
    assert "lies among the videos" in prepare.err
    assert tree(videos) == before


def test_output_that_holds_the_videos_where_copies_go_is_refused(videos, prepare):
    inside = videos.parent / "small" / "videos"
    inside.parent.mkdir()
    videos.rename(inside)
    prepare(*arguments(videos), f"dataset.root={inside}", f"output={videos.parent}", "steps=[transcode]", expect=2)
    assert "where copies would go" in prepare.err


def test_default_output_is_taken_where_videos_lie_in_the_home_folder(videos, prepare, monkeypatch):
    call = [argument for argument in arguments(videos) if not argument.startswith("output=")]
    monkeypatch.setenv("HOME", str(videos))
    prepare(*call)
    assert len(list(videos.glob(".cache/dsn_lightning/folder-*/prepare_report.json"))) == 1
    monkeypatch.setenv("HOME", str(videos / "run"))
    prepare(*call, expect=2)
    assert f"lies among the videos ({videos / 'run'})" in prepare.err


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
def test_videos_on_two_disks_forbid_their_own_folders_alone(monkeypatch, output, refused):
    monkeypatch.setenv("HOME", "/home/me")
    paths = ("/home/me/films/a.mp4", "/disk/films/run/b.mp4", "/disk/films/walk/c.mp4")
    records = {"train": [VideoRecord(path, Path(path), (0,)) for path in paths], "val": [], "test": []}
    source = SimpleNamespace(name="two", root=Path("/"))
    if refused is None:
        refuse_overwriting(Path(output), source, records)
        return
    with pytest.raises(UsageError, match=re.escape(f"lies among the videos ({refused})")):
        refuse_overwriting(Path(output), source, records)


def test_copies_never_come_to_lie_beside_some_of_the_videos(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    paths = ("/home/me/out/small/a.mp4", "/disk/b.mp4")
    records = {"train": [VideoRecord(path, Path(path), (0,)) for path in paths], "val": [], "test": []}
    with pytest.raises(UsageError, match="where copies would go"):
        refuse_overwriting(Path("/home/me/out"), SimpleNamespace(name="two", root=Path("/")), records)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("steps=[chek]", "must be a list out of check, transcode, flow"),
        ("jobs=0", "jobs=0: must be a whole number of at least 1"),
        ("strict=no", "strict=no: must be true or false"),
        ("dataset.reading.decoder.deadline=null", "decoder.deadline=None: must be seconds"),
        ("transcode.crf=60", "at least 0 and at most 51"),
        ("flow.size=128", "must be [height, width]"),
        ("flow.bound=-1", "must be a number above 0"),
    ],
)
def test_wrong_keys_are_named(videos, prepare, key, message):
    prepare(*arguments(videos), key, expect=2)
    assert message in prepare.err
    assert len(prepare.err.splitlines()) == 1


def deceptive(num_frames: int) -> np.ndarray:
    """Frames of which only those away from the middle need room."""
    frames = np.random.default_rng(0).integers(0, 256, (num_frames, 128, 128, 3)).astype(np.uint8)
    frames[num_frames // 2 - 17 : num_frames // 2 + 17] = 128
    return frames


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no small disk can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk_stops_with_one_line_and_no_part(tmp_path, prepare, small_disk):
    for name in ("run", "walk"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        for i in range(2):
            write_video(tmp_path / "videos" / name / f"{i}.mkv", deceptive(80) if i else moving(12))
    call = ["dataset=folder", f"dataset.root={tmp_path / 'videos'}", f"output={small_disk / 'out'}", "jobs=1",
            "steps=[transcode]", "transcode.crf=10"]  # fmt: skip
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


def test_pool_outlives_tasks_that_fail_and_processes_that_die(tmp_path):
    tasks = [(name, str(tmp_path)) for name in ("a", "die", "bad", "b", "c")]
    outcomes = dict(run_each(do, tasks, jobs=2))
    assert {number for number, failure in outcomes.items() if failure is None} == {0, 3, 4}
    assert outcomes[1] == "the process that worked on it ended with exit code -9"
    assert outcomes[2] == "is truncated"
    assert {p.name for p in tmp_path.iterdir()} == {"a.done", "b.done", "c.done"}


def test_pool_stops_when_the_disk_is_full_and_hides_no_fault_of_ours(tmp_path):
    with pytest.raises(DiskFullError, match="No space left"):
        list(run_each(do, [("full", ""), ("a", str(tmp_path))], jobs=1))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        list(run_each(do, [("wrong", "")], jobs=1))


def test_killed_command_leaves_no_process_behind(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(str(tmp_path),))
    process.start()
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2, 30)
    process.kill()
    process.join()
    wait_for(lambda: not any(Path("/proc", p.name).exists() for p in tmp_path.iterdir()), 10)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


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
    """Kill the command when so many copies are made, go on to the end, and compare with a run that never stopped."""
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


def test_killed_and_restarted_it_writes_the_same_bytes(many):
    kill_and_restart(many, [0, 3, 8])


@pytest.mark.slow
def test_killed_at_ten_moments_it_writes_the_same_bytes(many):
    kill_and_restart(many, [0, *sorted(random.Random(0).sample(range(1, 12), 9))])


def test_ctrl_c_ends_with_130_and_no_part(many):
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
