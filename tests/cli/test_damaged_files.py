"""Damaged files of runs, sweeps and indexes: one line with the remedy, or they are made anew."""

import json
import shutil

import pytest

from dsn_lightning.prepare.video_index import INDEX, index_videos
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.video.decoder import is_present
from dsn_lightning.video.image_folder import ImageFolder
from dsn_lightning.video.pyav_decoder import PyAV
from dsn_lightning.video.video_info import VideoInfo
from helpers.processes import call

DAMAGE = [b"", b"\x00\xff" * 40, b"M: [1, 2", b"[]\n", b"just text\n"]


def one_line(done) -> str:
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_configuration_is_named_with_the_copy_to_restore(content, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_bytes(content)
    error = one_line(call("dsn-train", "resume=run", cwd=tmp_path, expect=2))
    assert f"{run / 'config.yaml'}: is damaged; begin a new run" in error
    (run / "config.json").write_text("{}\n")
    error = one_line(call("dsn-train", "resume=run", cwd=tmp_path, expect=2))
    assert f"is damaged; restore it with: cp {run / 'config.json'} {run / 'config.yaml'}" in error


@pytest.mark.parametrize("content", [*DAMAGE, b'{"format": 1}', b'{"format": 1, "jobs": [{"folder": 1}]}'])
def test_a_damaged_sweep_names_what_continues_its_jobs(content, tmp_path):
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_bytes(content)
    error = one_line(call("dsn-train", "sweep.resume=sweep", cwd=tmp_path, expect=2))
    if content != b"[]\n":  # as JSON it is whole, but of no format
        assert str(sweep / "sweep.json") in error
        assert f"; resume={sweep}/0, resume={sweep}/1, ... continue its jobs one by one" in error


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_status_is_an_unknown_state(content, tmp_path):
    run = RunFolder(tmp_path)
    run.status_json.write_bytes(content)
    assert (run.state(), run.is_finished()) == ("unknown", False)


ENTRY = {"fingerprint": ["video", 1, 2], "info": VideoInfo(20, 25.0, 34, 34, stamps="", container="mp4").to_json()}
JOURNALS = [
    b"\x00\xff\n[5",
    b'[5, "walk/ann_walk.mp4", "error"]\n',
    b'[5, "walk/ann_walk.mp4", {"error": 3}]\n',
    b'[5, ["walk"], {"error": "x"}]\n',
    b"[" * 100_000 + b"\n",
    *(json.dumps([5, "walk/ann_walk.mp4", ENTRY | {"info": ENTRY["info"] | change}]).encode() + b"\n"
      for change in ({"num_frames": "many"}, {"stamps": "!"}, {"key_frames": "eJw="}, {"fps": None}, {"width": None})),
]  # fmt: skip


@pytest.mark.parametrize("journal", JOURNALS)
@pytest.mark.parametrize("name", [INDEX, ".index.journal"])
def test_damaged_entries_of_an_index_are_made_anew(name, journal, class_folders, tmp_path):
    path = class_folders / "walk" / "ann_walk.mp4"
    status = path.stat()
    fingerprint = json.dumps(["video", status.st_size, status.st_mtime_ns]).encode()
    content = journal.replace(b'["video", 1, 2]', fingerprint)
    if name == INDEX:
        lines = [json.loads(line) for line in content.splitlines() if line.startswith(b'[5, "w') and b"}" in line]
        content = json.dumps({"format": 5, "videos": {key: entry for _, key, entry in lines}}).encode() or journal
    (tmp_path / name).write_bytes(content)
    found = index_videos([path], tmp_path, root=class_folders, decoder=PyAV(), num_threads=1, show=False)
    assert isinstance(found[path], VideoInfo)
    assert found[path].num_frames == 20
    assert not (tmp_path / ".index.journal").exists()


def test_a_listed_path_that_is_too_long_is_a_missing_video(class_folders, tmp_path):
    for decoder in (PyAV(), ImageFolder()):
        assert not is_present(tmp_path / ("x" * 300 + ".mp4"), decoder)
    root = shutil.copytree(class_folders, tmp_path / "videos")
    names = ["walk/ann_walk.mp4 walk", "run/ann_run.mp4 run", f"walk/{'x' * 300}.mp4 walk"]
    (tmp_path / "train.txt").write_text("\n".join(names) + "\n")
    (tmp_path / "test.txt").write_text("walk/bob_walk.mp4 walk\n")
    lists = ["dataset.train_list=train.txt", "dataset.test_list=test.txt"]
    call("dsn-prepare", "dataset=folder", f"dataset.root={root}", *lists, "output=out", cwd=tmp_path)
    report = json.loads((tmp_path / "out" / "prepare_report.json").read_text())
    assert report["totals"]["missing"] == 1


def test_a_test_set_without_usable_videos_is_refused_before_the_training(class_folders, tmp_path):
    root = shutil.copytree(class_folders, tmp_path / "videos")
    (root / "walk" / "bob_walk.mp4").write_bytes(b"no video")
    (tmp_path / "train.txt").write_text("walk/ann_walk.mp4 walk\nrun/ann_run.mp4 run\n")
    (tmp_path / "test.txt").write_text("walk/bob_walk.mp4 walk\n")
    arguments = ["dataset=folder", f"dataset.root={root}", "dataset.train_list=train.txt", "dataset.test_list=test.txt",
                 f"dataset.reading.prepared={tmp_path / 'prepared'}", "dataset.reading.on_bad_video=skip",
                 "recipe=none", "backbone=r3d_tiny", "observation=r2d_tiny", "schedule=tiny", "trainer.accelerator=cpu",
                 "hydra.run.dir=run"]  # fmt: skip
    done = call("dsn-train", *arguments, cwd=tmp_path, expect=2)
    assert "dataset=folder: has no test videos that can be used; the first of 1 bad ones: " in done.stderr
    assert "test.enabled=false trains without a test" in done.stderr
    assert not (tmp_path / "run" / "checkpoints").exists()
