"""Planned commands, each run once: a finished result is kept, an interrupted training continues.

Each command works in a folder whose name identifies its settings. The first process takes the folder's lock, which the
system releases however the process ends; others wait for it and then find the result.
"""

import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from dsn_lightning.launch.jobs import Job
from dsn_lightning.runs.run_folder import RunFolder
from reproduce.configurations import is_trained, run_command, settings_of, train_max_response

TRAIN, EVALUATE, SHARED = "dsn-train", "dsn-evaluate", "shared"
FINISHED = "finished"


@dataclass(frozen=True)
class Command:
    """One training or evaluation.

    Attributes:
        name: unique, for people.
        program: ``dsn-train``, ``dsn-evaluate``, or ``shared`` for the max-response network that a training starts
            from, which that training's own command would train first (``observation.checkpoint=auto``).
        arguments: command line without the folder; for ``shared``, that of the training that starts from the network.
        folder: where the command works, or where its result was found.
        digest: identifies the settings that the result depends on.
        after: names of the commands whose results it needs.
    """

    name: str
    program: str
    arguments: tuple[str, ...]
    folder: Path
    digest: str
    after: tuple[str, ...] = ()

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that a training ends with, absolute."""
        return RunFolder(self.folder).last_checkpoint.absolute()

    def line(self) -> str:
        """Return the command line as a person types it."""
        if self.program == SHARED:
            return f"# max-response network in {self.folder}: trained by the dsn-train that starts from it (auto)"
        return shlex.join([self.program, *self.arguments, f"hydra.run.dir={quoted(self.folder)}"])

    def state(self) -> str:
        """Return ``finished``, ``failed`` (it will be tried again), ``interrupted`` or ``missing``."""
        if is_finished(self.program, self.folder):
            return FINISHED
        if failure_reason(self.folder) is not None:
            return "failed"
        return "interrupted" if RunFolder(self.folder).log.is_file() else "missing"

    def job(self) -> Job:
        """Return the command as a job for a process of its own."""
        job = Job(
            self.name,
            run_once,
            (self.program, self.arguments, str(self.folder)),
            self.folder,
            self.after,
            is_whole=lambda: is_finished(self.program, self.folder),
        )
        if self.state() == FINISHED:
            job.state = "done"
        return job


def quoted(path: Path) -> str:
    """Return a path as Hydra's command line reads it, whatever characters it has.

    >>> quoted(Path("my run")), quoted(Path("runs/seed_0"))
    ("'my run'", 'runs/seed_0')
    """
    if re.fullmatch(r"[\w./-]+", str(path), re.ASCII):
        return str(path)
    return "'" + str(path).replace("'", "\\'") + "'"


def path_below(folder: str, output: Path) -> str:
    """Return a path, or a text of several, relative to the output folder where it lies in it.

    >>> path_below("/out/evaluations/a", Path("/out"))
    'evaluations/a'
    """
    return folder.replace(f"{output}/", "")


def is_finished(program: str, folder: Path) -> bool:
    """Tell whether a folder has the complete result of a program."""
    if program != EVALUATE:
        return is_trained(RunFolder(folder))
    try:  # written atomically, after the scores
        return isinstance(json.loads(RunFolder(folder).results_json.read_text()), list)
    except (OSError, ValueError):
        return False


def failure_reason(folder: Path) -> str | None:
    """Return one line on why the last attempt in a folder failed; None if it did not fail."""
    run = RunFolder(folder)
    status = run.status()
    if status.get("state") == "failed":
        return str(status["error"] or f"exit code {status['exit_code']}")
    return run.logged_error() if status.get("state") in (None, "finished") else None  # None: an evaluation, or killed


def run_once(program: str, arguments: Sequence[str], folder: str) -> None:
    """Run a command in this process, unless another process has finished it meanwhile.

    Raises:
        SystemExit: as the command does.
    """
    run = RunFolder(Path(folder))
    if program == SHARED:
        train_max_response(settings_of(*arguments, f"run_dir={quoted(run.path)}"))
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # the log is for whoever looks into a failure
    with FileLock(run.lock_beside):
        if is_finished(program, run.path):
            return
        run.log.open("w").close()  # earlier attempts say nothing about how this one ends
        if program == TRAIN and run.last_checkpoint.is_file():
            given = [a for a in arguments if a.startswith(("trust=", "hydra.searchpath="))]
            run_command(program, [f"resume={run.path}", *given])
        else:
            here = [f"hydra.run.dir={quoted(run.path)}", "~hydra.callbacks.run_folder"]  # an attempt may be there
            run_command(program, [*arguments, *here])
