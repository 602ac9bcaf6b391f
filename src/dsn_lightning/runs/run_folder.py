"""The folder of a run: the names of its files, its state and its lock.

``status.json`` holds the format of the folder, `RUN_FORMAT`. A folder of another format is neither read nor resumed.

States: ``running``, ``finished``, ``failed`` and ``stopped`` (Ctrl-C, SIGTERM), as the run itself recorded; ``pruned``
(stopped by a search, which recorded it); ``killed`` (recorded as running, but no process holds the folder);
``unknown``. An evaluation records no status: it is finished
when its ``results.json`` exists, which is written at once, after all else is known.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, overload

from filelock import FileLock, Timeout

from dsn_lightning.errors import UsageError
from dsn_lightning.runs.tolerant_files import read_end, read_json

RUN_FORMAT = 1
"""Version of the files in a run's folder."""

_RECORDED_STATES = ("running", "finished", "failed", "stopped", "pruned")


class FileIn:
    """A file or folder with a fixed name inside a folder: its path on an instance, its ``name`` on the class."""

    def __init__(self, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, folder: None, owner: type) -> Self: ...
    @overload
    def __get__(self, folder: Any, owner: type) -> Path: ...
    def __get__(self, folder: Any, owner: type) -> Self | Path:
        return self if folder is None else folder.path / self.name


@dataclass(frozen=True)
class LockedFolder:
    """A folder with a lock, which the system releases when the process ends, however it ends."""

    path: Path

    lock = FileIn(".lock")

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises:
            UsageError: another process holds it.
        """
        lock = FileLock(self.lock)
        try:
            lock.acquire(timeout=3)  # a process that was just killed may take a moment to end
        except Timeout:
            raise UsageError(f"{self.path}: another process is working in this folder") from None
        try:
            yield
        finally:
            lock.release()

    def is_held(self) -> bool:
        """Whether a process holds the folder."""
        if not self.lock.is_file():  # looking must not create it
            return False
        lock = FileLock(self.lock)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # OSError: the lock belongs to another user
            return True
        lock.release()
        return False


@dataclass(frozen=True)
class RunFolder(LockedFolder):
    """The folder of a training or an evaluation, which may not exist yet."""

    config_yaml = FileIn("config.yaml")
    """Resolved configuration with which the run began; ``resume=`` continues with it."""
    config_json = FileIn("config.json")
    """Resolved configuration of the last start."""
    status_json = FileIn("status.json")
    progress_json = FileIn("progress.json")
    """Epochs done, written at the end of each epoch."""
    metrics_csv = FileIn("metrics.csv")
    """One row an epoch."""
    results_json = FileIn("results.json")
    """One row for each selection method, classifier and test scheme."""
    results_csv = FileIn("results.csv")
    predictions_csv = FileIn("predictions.csv")
    """One row for each video and row of the results."""
    statistics_json = FileIn("statistics.json")
    clip_scores = FileIn("clip_scores.npz")
    video_scores = FileIn("video_scores.npz")
    videos_json = FileIn("videos.json")
    """Listed, present, missing and failed videos."""
    environment_json = FileIn("environment.json")
    log = FileIn("log.txt")
    """Everything that a job printed."""
    figures = FileIn("figures")
    checkpoints = FileIn("checkpoints")
    last_checkpoint = FileIn("checkpoints/last.ckpt")
    previous_checkpoint = FileIn("checkpoints/previous.ckpt")
    """What the last checkpoint was before it was written for the last time."""
    best_checkpoint = FileIn("checkpoints/best.ckpt")
    run_id = FileIn("run_id.txt")
    """Random name of the run, which its checkpoints hold as well."""
    wandb_id = FileIn("wandb_id.txt")
    composed_yaml = FileIn("composed.yaml")
    """The resolved configuration that a sweep composed for this job, with Hydra's own settings under ``hydra``."""
    hydra_config = FileIn(".hydra/config.yaml")
    """Hydra's copy of the configuration, references included, written before the run begins."""
    hydra_overrides = FileIn(".hydra/overrides.yaml")

    def is_used(self) -> bool:
        """Whether a training or an evaluation has left results here, or was interrupted, or is in progress."""
        left = (self.metrics_csv, self.progress_json, self.results_json, self.clip_scores, self.video_scores)
        has_results = any(file.is_file() for file in left) or any(self.checkpoints.glob("*.ckpt"))
        return has_results or self.state() in ("running", "killed", "stopped", "pruned")

    def remove_results(self) -> None:
        """Remove what an earlier evaluation wrote, so that no old result stands beside new scores."""
        for file in (self.results_json, self.results_csv, self.predictions_csv, self.statistics_json):
            file.unlink(missing_ok=True)

    def was_saved(self) -> bool:
        """Whether a training was saved here, even if its checkpoints are gone: an epoch ends with one."""
        found = self.last_checkpoint.exists() or self.previous_checkpoint.exists()
        return found or self.num_epochs() > 1  # the first epoch is counted a moment before it is saved

    def num_epochs(self) -> int:
        """Return the number of epochs that ended."""
        epoch = self.progress().get("epoch", 0)
        return epoch if isinstance(epoch, int) else 0

    def refuse_existing(self, *, where: str) -> None:
        """Raise `UsageError` if the folder is used, so that a new run cannot begin; ``where`` names it as it was given.

        Raises:
            UsageError: it holds a run.
        """
        if self.is_held():
            raise UsageError(f"{self.path}: another process is working in this folder")
        if not self.is_used():
            return
        can_go_on = self.config_yaml.is_file() and (not self.is_finished() or self.stopped_early())
        remedy = f"resume={self.path} continues it; " if can_go_on else ""
        raise UsageError(
            f"{where}: already holds a run ({self.state()}); {remedy}a new one needs another folder, or "
            f"overwrite=true, which moves this one to {free_name(self.path)}"
        )

    @property
    def lock_beside(self) -> Path:
        """Lock for whoever makes this run on behalf of several others, which wait for it and then use the run."""
        return self.path.parent / f".{self.path.name}.lock"

    def process_log(self, rank: int) -> Path:
        """Return the file for the output of a process that is not the first of its node."""
        return self.path / f"process_{rank}.txt"

    def exists(self) -> bool:
        """Whether a run began here."""
        return self.hydra_config.is_file() or self.status_json.is_file()

    def status(self) -> dict[str, Any]:
        """Return what the run recorded in ``status.json``; empty if that is missing or incomplete.

        Raises:
            UsageError: the folder has another format.
        """
        content = read_json(self.status_json)
        if not isinstance(content, dict):
            return {}
        check_format(self.path, content, expected=RUN_FORMAT, kind="run")
        return content if content.get("state") in _RECORDED_STATES else {}

    def warnings(self) -> list[str]:
        """Return a line for each warning of the training: its epoch, from 1, and its text; see ``status.json``."""
        kept = self.status().get("warnings")
        entries = [entry for entry in kept if isinstance(entry, dict)] if isinstance(kept, list) else []
        return [f"epoch {entry['epoch']}: {entry['text']}" for entry in entries if {"epoch", "text"} <= entry.keys()]

    def state(self) -> str:
        """Return the run's state; see the head of this module."""
        state = str(self.status().get("state", "unknown"))
        if state == "unknown" and isinstance(read_json(self.results_json), list):
            return "finished"
        if state in ("running", "unknown") and self.is_held():
            return "running"
        return "killed" if state == "running" else state

    def is_finished(self) -> bool:
        """Whether a training recorded that it ended well."""
        return self.status().get("state") == "finished"

    def stopped_early(self) -> bool:
        """Whether a training that ended well has epochs left: ``trainer.max_time`` ended it, maybe in its first."""
        progress = self.progress() or {"epoch": 0, "max_epochs": 1}
        return bool(progress["epoch"] < progress["max_epochs"])

    def progress(self) -> dict[str, Any]:
        """Return the content of ``progress.json``; empty before the end of the first epoch."""
        content = read_json(self.progress_json)
        counts = [content.get(name) for name in ("epoch", "max_epochs")] if isinstance(content, dict) else [None]
        return content if all(type(count) is int for count in counts) else {}

    def best_value(self) -> float | None:
        """Return the best value of the held-out videos, in [0, 1]; None without any."""
        value = self.progress().get("best_value")
        return value if isinstance(value, float | int) else None

    def logged_error(self) -> str | None:
        """Return the last line of ``log.txt`` if it is an error, without the name of the command."""
        text = read_end(self.log).strip()
        last = text.rpartition("\n")[2]
        message = re.fullmatch(r"dsn-\w+: error: (.+)", last)
        return message[1] if message else last if "Traceback (most recent call last)" in text else None


def free_name(folder: Path) -> Path:
    """Return the first of ``DIR.1``, ``DIR.2``, ... that does not exist."""
    number = 1
    while (free := folder.absolute().with_name(f"{folder.absolute().name}.{number}")).exists():
        number += 1
    return free


def moved_aside(folder: Path) -> Path:
    """Rename a folder to its `free_name` and return that."""
    return folder.rename(free_name(folder))


def check_format(folder: Path, content: dict[str, Any], *, expected: int, kind: str) -> None:
    """Raise `UsageError` if the record of a run or a sweep has another format."""
    found = content.get("format")
    if found != expected:
        version = "none" if found is None else repr(found)
        raise UsageError(f"{folder}: expected {kind} format {expected}, got {version}")
