"""Which file the results of a folder were computed from, and whether it still is that file; imports no PyTorch."""

import hashlib
import sys
from pathlib import Path

from dsn_lightning.evaluation.row_check import is_fused, is_row
from dsn_lightning.files import open_bounded
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.tolerant_files import read_json

SCORES_DIGEST = "scores_sha256"
"""Key of ``environment.json``."""

NOT_OF_RESULTS = "is not the file that results.json was computed from"


def stored_scores(folder: Path) -> Path | None:
    """Return the file that a folder's results were computed from; None if it does not exist."""
    file = scores_file(folder)
    return file if file.is_file() else None


def scores_file(folder: Path) -> Path:
    """Return where a folder's scores are, whether the file exists or not."""
    run = RunFolder(folder)
    rows = read_json(run.results_json)  # None without results
    fused = isinstance(rows, list) and any(is_row(row) and is_fused(row) for row in rows)
    return run.video_scores if fused else run.clip_scores


def digest_of_scores(file: Path) -> str:
    """Return the SHA-256 of a file of scores, which ``environment.json`` keeps beside the results."""
    digest = hashlib.sha256()
    with open_bounded(file, sys.maxsize) as content:
        while block := content.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def belongs_to_results(folder: Path) -> bool:
    """Return whether a folder's scores are those that its results were computed from, as far as is known.

    They are not if a call was stopped, or its disk was full, between the two files, or if somebody exchanged one.
    """
    scores, facts = stored_scores(folder), read_json(RunFolder(folder).environment_json)
    known = facts.get(SCORES_DIGEST) if isinstance(facts, dict) else None
    return scores is None or known is None or known == digest_of_scores(scores)
