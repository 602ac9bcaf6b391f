"""Commands that are planned ahead and run once: what is finished is kept, what was interrupted goes on.

Each has a folder that is named by what its result depends on. Whoever comes first works in it; others wait for its
lock, which the system releases however the process ends, and find the result.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from omegaconf import OmegaConf

from dsn_lightning.commands import shared
from dsn_lightning.commands.compose import compose_anew
from dsn_lightning.commands.identity import is_trained
from dsn_lightning.launch.jobs import Job

TRAIN, EVALUATE, SHARED = "dsn-train", "dsn-evaluate", "shared"


@dataclass(frozen=True)
class Command:
    """One training or evaluation.

    Attributes:
        name: unique, for a person.
        program: ``dsn-train``, ``dsn-evaluate``, or ``shared``: the max-response network that another training starts
            from, which that one's own command would make first (``observation.checkpoint=auto``).
        arguments: of the command line, the folder not among them; for ``shared`` those of the training that needs it.
        folder: where it works, or where it was found.
        digest: what its result depends on.
        after: names of those it needs.
    """

    name: str
    program: str
    arguments: tuple[str, ...]
    folder: Path
    digest: str
    after: tuple[str, ...] = ()

    def line(self) -> str:
        """Return what a person would type."""
        if self.program == SHARED:
            return f"# max response in {self.folder}: the dsn-train that starts from it makes it first (auto)"
        return shlex.join([self.program, *self.arguments, f"hydra.run.dir={quoted(self.folder)}"])

    def state(self) -> str:
        """Return ``there``, ``failed`` (it will be tried again), ``interrupted`` or ``missing``."""
        if is_done(self.program, self.folder):
            return "there"
        if reason_of_failure(self.folder) is not None:
            return "failed"
        return "interrupted" if (self.folder / "log.txt").is_file() else "missing"

    def job(self) -> Job:
        """Return it as a job of its own process."""
        job = Job(
            self.name, perform, (self.program, self.arguments, str(self.folder)), self.folder, self.after,
            is_whole=lambda: is_done(self.program, self.folder),
        )  # fmt: skip
        if self.state() == "there":
            job.state = "done"
        return job


def quoted(path: Path) -> str:
    """Return a path as Hydra's command line takes it, whatever characters it has.

    >>> quoted(Path("my run")), quoted(Path("runs/seed_0"))
    ("'my run'", 'runs/seed_0')
    """
    if re.fullmatch(r"[\w./-]+", str(path), re.ASCII):
        return str(path)
    return "'" + str(path).replace("'", "\\'") + "'"


def is_done(program: str, folder: Path) -> bool:
    """Tell whether the result is there, whole."""
    if program != EVALUATE:
        return is_trained(folder)
    try:  # written at once, after the scores
        return isinstance(json.loads((folder / "results.json").read_text()), list)
    except (OSError, ValueError):
        return False


def reason_of_failure(folder: Path) -> str | None:
    """Return why the last attempt in ``folder`` has failed, in a line; None if it has not."""
    try:
        status = json.loads((folder / "status.json").read_text())
        if status["state"] == "failed":
            return str(status["error"] or f"exit code {status['exit_code']}")
        if status["state"] != "finished":
            return None
    except (OSError, ValueError, KeyError):
        pass  # it ended before it could write that, or is an evaluation
    try:
        lines = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
    except OSError:
        return None
    last = lines[-1] if lines else ""
    if last.startswith("dsn-") and ": error: " in last:
        return last.partition(": error: ")[2]
    return last if any(line.startswith("Traceback (most recent call last)") for line in lines) else None


def perform(program: str, arguments: Sequence[str], folder: str) -> None:
    """Be this command in a process of its own, unless its result is there by now.

    Raises:
        SystemExit: as the command does.
    """
    from dsn_lightning.commands import cli

    place = Path(folder)
    if program == SHARED:
        from dsn_lightning.commands.train import train

        cfg = compose_anew("train", *arguments, f"run_dir={quoted(place)}")
        own = shared.configuration(cfg, "max_response")
        OmegaConf.resolve(own)
        with cli.one_line_errors("dsn-train"):
            cli.check(own)
            shared.made_once(own, train)
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # the log is for whoever looks into a failure
    with FileLock(place.parent / f".{place.name}.lock"):
        if is_done(program, place):
            return
        (place / "log.txt").open("w").close()  # of this attempt; what was printed before says nothing about its end
        own_arguments = [*arguments, f"hydra.run.dir={quoted(place)}"]
        if program == TRAIN and (place / "checkpoints" / "last.ckpt").is_file():
            own_arguments = [f"resume={place}"]
        sys.argv = [program, *own_arguments]
        {TRAIN: cli.train, EVALUATE: cli.evaluate}[program]()
