"""Files of answers, a line of JSON each, that survive a kill with whole lines."""

import json
import os
import sys
from pathlib import Path

from dsn_lightning.prediction.answer import Prediction

NO_LIMIT = sys.maxsize
"""Size up to which a file of answers is read; it is read line by line."""


def answer_line(answer: Prediction) -> bytes:
    """Return an answer as a line of JSON."""
    return json.dumps(answer.to_json(), allow_nan=False).encode() + b"\n"


def add_line(path: Path, answer: Prediction) -> None:
    """Add a line; when this returns, it is on the disk."""
    with open(path, "ab") as file:
        file.write(answer_line(answer))
        file.flush()
        os.fsync(file.fileno())


def cut_unfinished_line(path: Path) -> None:
    """Remove what follows the last line break of a file: half a line, of a killed call."""
    with open(path, "r+b") as file:
        end = size = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 2**16)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
