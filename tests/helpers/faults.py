"""Faults for the fault suite: their table, small disks, commands that are killed, and what a good end looks like."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from helpers.processes import start
from helpers.trained_runs import processes_in

PROPERTY = "fault"
"""Name under which a test reports an attempt to pytest: (fault, survived)."""


def fault_table(attempts: Iterable[tuple[str, bool]]) -> str:
    """Return the attempts as a Markdown table, a row for each fault."""
    counts: dict[str, list[int]] = {}
    for fault, survived in attempts:
        tried = counts.setdefault(fault, [0, 0])
        tried[0] += 1
        tried[1] += survived
    rows = [f"| {fault} | {tried} | {survived} | {tried - survived} |" for fault, (tried, survived) in counts.items()]
    return "\n".join(["| fault | tried | survived | lost |", "|---|---|---|---|", *sorted(rows)]) + "\n"


@contextmanager
def small_disk(place: Path, size: str, *options: str) -> Iterator[Path]:
    """A file system of this size, such as 400k; the test is skipped where none can be mounted."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no small disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, *, leave: int) -> Path:
    """Fill a small disk, on which others may write, but for ``leave`` bytes; return the file that does."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"0" * 4096):
            pass
    os.truncate(filler, max(0, filler.stat().st_size - leave))
    return filler


def assert_one_line(stderr: str, command: str, *parts: str) -> None:
    """The command ended with one line of error that contains the parts, and no traceback."""
    assert "Traceback" not in stderr, stderr
    errors = [line for line in stderr.splitlines() if line.startswith(f"{command}: error: ")]
    assert len(errors) == 1, stderr
    for part in parts:
        assert part in errors[0]


def partial_files(folder: Path) -> list[str]:
    """Temporary files below a folder."""
    hidden = [path for path in folder.rglob(".*") if path.is_file() and path.suffix != ".lock" and path.name != ".lock"]
    return sorted(path.name for path in [*hidden, *folder.rglob("*.partial*")])


def wait_until_quiet(folder: Path, *, seconds: float = 90) -> None:
    """Wait until no process has a file below the folder open; an orphan fails the test.

    (The process that jobs of a sweep are forked from first ends its imports.)
    """
    deadline = time.monotonic() + seconds
    while left := processes_in(folder):
        assert time.monotonic() < deadline, f"processes {left} are left"
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    try:
        children = [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has ended
        return []
    return [*children, *(one for child in children for one in descendants(child))]


def kill_at(command: str, arguments: Sequence[str], cwd: Path, *, within: float, rng: random.Random) -> float:
    """Kill the command at a random moment of its ``within`` seconds; return the moment.

    One that ended before it was killed is no attempt: then 0 is returned.
    """
    process = start(command, *arguments, cwd=cwd)
    moment = rng.uniform(0, within)
    process.join(moment)
    process.kill()
    process.join()
    wait_until_quiet(cwd)
    return moment if process.exitcode == -signal.SIGKILL else 0.0


def run_program(
    command: str,
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    before: str = "",
    around: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a command in a new interpreter within ``around``, after the shell commands ``before`` (``ulimit -n 64``)."""
    program = f"from dsn_lightning.cli.{command.removeprefix('dsn-')} import main; main()"
    shell = f'{before}\nexec "$0" "$@"'
    words = [*around, "bash", "-ec", shell, sys.executable, "-c", program, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=400)
