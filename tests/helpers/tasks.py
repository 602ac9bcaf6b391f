"""Tasks for a pool of worker processes, which import this file and therefore nothing heavy."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from dsn_lightning.prepare.worker_pool import run_each
from dsn_lightning.video.video_info import VideoError


def do(task: str, folder: str) -> None:
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "bad":
        raise VideoError(Path("x.mp4"), "is truncated")
    if task == "full":
        raise OSError(28, "No space left on device")
    if task == "wrong":
        raise TypeError("a bug")
    if task == "hang":
        Path(folder, f"{os.getpid()}").touch()
        time.sleep(100)
    Path(folder, f"{task}.done").touch()


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def hold(folder: str) -> None:
    list(run_each(do, [("hang", folder), ("hang", folder)], jobs=2))
