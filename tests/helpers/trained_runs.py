"""Reads and compares the folders of runs."""

import csv
import json
import os
from pathlib import Path

import torch


def state_of(run: Path) -> dict:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same(a, b, where=""):
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}/{i}")
    else:
        assert a == b, where


def assert_same_run(resumed: Path, whole: Path) -> None:
    ours, theirs = state_of(resumed), state_of(whole)
    for part in ("state_dict", "optimizer_states", "epoch", "global_step", "epoch_sums"):
        assert_same(ours[part], theirs[part], part)
    assert metrics_of(resumed) == metrics_of(whole)
    assert warnings_of(resumed) == warnings_of(whole)


def warnings_of(run: Path) -> list[dict]:
    return json.loads((run / "status.json").read_text())["warnings"]


def metrics_of(run: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv, without the times that they took."""
    rows = csv.DictReader((run / "metrics.csv").read_text().splitlines())
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in rows]


def epochs_done(run: Path) -> int:
    try:
        return int(json.loads((run / "progress.json").read_text())["epoch"])
    except (OSError, json.JSONDecodeError):
        return 0


def states(sweep: Path) -> list[str]:
    return [job["state"] for job in json.loads((sweep / "sweep.json").read_text())["jobs"]]


def processes_in(folder: Path) -> list[int]:
    """Processes that hold a file below ``folder`` open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            files = [os.readlink(fd) for fd in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(file.startswith(str(folder)) for file in files):
            found.append(int(process.name))
    return found
