"""Videos that vanish, a W&B server that never answers, and two runs in one folder."""

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.faults import assert_one_line
from helpers.processes import call, start
from helpers.trained_runs import epochs_done


@pytest.fixture
def own_set(needle_set: Path, tmp_path: Path) -> Path:
    """A copy of the videos, which a test may remove."""
    return Path(shutil.copytree(needle_set, tmp_path / "videos"))


@pytest.mark.faults
@pytest.mark.parametrize("what", ["one video", "all videos"])
def test_videos_that_vanish_are_skipped_or_end_the_run_in_one_line(what, own_set, training, attempt, tmp_path):
    arguments = [*training, f"dataset.root={own_set}", "schedule.max_epochs=12", "dataset.reading.cache_frames=false"]
    with attempt(f"{what} removed during a run: dsn-train"):
        process = start(
            "dsn-train", *arguments, "dataset.reading.on_bad_video=skip", "dataset.reading.max_bad=1.0", cwd=tmp_path
        )
        while process.is_alive() and epochs_done(tmp_path / "run") < 1:
            time.sleep(0.002)
        if what == "one video":
            next(own_set.rglob("train_0000.mp4")).unlink()
        else:
            own_set.rename(tmp_path / "elsewhere")
        process.join()
        status = json.loads((tmp_path / "run" / "status.json").read_text())
        if what == "one video":
            assert process.exitcode == 0, (tmp_path / "err").read_text()
            assert status["state"] == "finished"
        else:
            assert process.exitcode == 2
            assert_one_line((tmp_path / "err").read_text(), "dsn-train", "videos in a row cannot be read")
            assert status["state"] == "failed"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    accepted.append(listener.accept()[0])
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for connection in accepted:
            connection.close()


@pytest.mark.faults
def test_a_training_goes_on_without_the_server_of_wandb(silent_server, training, attempt, tmp_path):
    account = {"WANDB_BASE_URL": silent_server, "WANDB_API_KEY": "0" * 40, "WANDB_MODE": None, "HOME": str(tmp_path)}
    with attempt("the W&B server never answers: dsn-train logger=wandb"):
        began = time.monotonic()
        done = call("dsn-train", *training, "logger=wandb", cwd=tmp_path, env=account)
        assert "W&B cannot be reached; this run is logged offline" in done.stderr
        assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))
        assert time.monotonic() - began < 200


def test_of_two_runs_in_one_folder_the_second_is_refused(training, attempt, tmp_path):
    with attempt("two runs in one folder: dsn-train"):
        first = start("dsn-train", *training, "schedule.max_epochs=500", cwd=tmp_path, output=tmp_path)
        while first.is_alive() and epochs_done(tmp_path / "run") < 1:
            time.sleep(0.01)
        for arguments in (training, ["resume=run"], [*training, "overwrite=true"]):
            done = call("dsn-train", *arguments, cwd=tmp_path, expect=2)
            assert_one_line(done.stderr, "dsn-train", "another process is working in this folder")
        assert first.is_alive()
        first.terminate()
        first.join()
        assert first.exitcode == 143


@pytest.mark.faults
@pytest.mark.parametrize("content", [b"", b"\x00\xff{", b'{"format": 1}\n'])
def test_a_run_with_a_damaged_status_is_resumed(content, trained, attempt, tmp_path):
    run = Path(shutil.copytree(trained.parents[1], tmp_path / "run"))
    with attempt("damaged status.json: dsn-train resume="):
        (run / "status.json").write_bytes(content)
        call("dsn-train", "resume=run", "test.enabled=false", cwd=tmp_path)
        assert json.loads((run / "status.json").read_text())["state"] == "finished"
