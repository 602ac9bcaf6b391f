"""What an evaluation leaves in its folder for later comparisons, and how it is read again.

Beside ``results.json`` lies either ``clip_scores.npz`` (see `scores`), from which every method is worked out anew, or,
where clip scores of several evaluations were fused, ``video_scores.npz``: what each method made of each video.
"""

import json
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.outcomes import NOT_WANTED, Method, Outcome, StoredEvaluation, evaluation_of
from dsn_lightning.evaluation.results import Row, is_fused
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.runs import RunFolder
from dsn_lightning.selections.scheme import Selection


def stored_scores(folder: Path) -> Path | None:
    """Return the file that a folder's results came from; None if it is not there."""
    run = RunFolder(folder)
    try:
        rows = json.loads(run.results_json.read_text())
        fused = any(is_fused(row) for row in rows)
    except (OSError, ValueError, AttributeError, TypeError):  # no results, or none that can be read
        fused = False
    file = run.video_scores if fused else run.clip_scores
    return file if file.is_file() else None


def read_evaluation(folder: Path, selections: Iterable[Selection]) -> StoredEvaluation:
    """Read the folder of a run or of dsn-evaluate.

    Args:
        folder: with results and scores.
        selections: the methods that are wanted.

    Raises:
        UsageError: it holds no results or no scores, or they cannot be read.
    """
    run = RunFolder(folder)
    results, scores = run.results_json, stored_scores(folder)
    if not results.is_file():
        raise UsageError(f"{folder}: holds no results.json; give the folder of a run or of dsn-evaluate")
    try:
        rows = json.loads(results.read_text())
        if scores is None:
            fused = any(is_fused(row) for row in rows)
            remedy = "fuse its streams again" if fused else "give the folder of a run or of dsn-evaluate"
            raise UsageError(f"{folder}: holds no {(run.video_scores if fused else run.clip_scores).name}; {remedy}")
        if scores == run.video_scores:
            return load_outcomes(scores, rows, selections)
        return evaluation_of(str(folder), rows, ClipScores.load(scores), selections)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{folder}: cannot be read as an evaluation ({error}); evaluate it again") from error


def save_outcomes(evaluation: StoredEvaluation, path: Path) -> None:
    """Write what each method made of each video, as ``video_scores.npz``; the file appears whole or not at all.

    Its columns are those of `StoredEvaluation`; ``outcomes`` holds a JSON object a method, and ``probabilities_0`` and
    so on their float32 (D, V, J). Hits are not kept: where scores are fused, they apply to no clip.
    """
    rows = [json.dumps({**vars(m), "sampler": o.sampler, "row": o.row}) for m, o in evaluation.outcomes.items()]
    partial = path.with_name(f".{path.stem}.partial.npz")
    columns: dict[str, Any] = {
        "classes": np.array(evaluation.classes),
        "video_id": evaluation.video_id,
        "targets": evaluation.targets,
        "test": np.array(json.dumps(evaluation.test)),
        "networks": np.array(json.dumps(evaluation.networks)),
        "outcomes": np.array(rows),
    }
    columns |= {f"probabilities_{i}": o.probabilities for i, o in enumerate(evaluation.outcomes.values())}
    np.savez_compressed(partial, **columns)
    partial.replace(path)


def load_outcomes(path: Path, rows: Sequence[Row], selections: Iterable[Selection]) -> StoredEvaluation:
    """Read ``video_scores.npz``, those of the methods that are among the selections.

    Raises:
        ValueError: they are not of the ``rows`` that ``results.json`` has.
    """
    wanted = {selection.name for selection in selections}
    outcomes, left_out = {}, []
    with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
        stored = [json.loads(str(line)) for line in file["outcomes"]]
        if [own["row"] for own in stored] != list(rows):
            raise ValueError(f"{path.name} is not of the same fusion as results.json")
        for i, own in enumerate(stored):
            method = Method(own["selection"], own["classifier"], own["M"], own["N"])
            if method.selection in wanted:
                outcomes[method] = Outcome(file[f"probabilities_{i}"], None, None, own["sampler"], own["row"])
            else:
                left_out.append(f"{method}: {NOT_WANTED}")
        return StoredEvaluation(
            name=str(path.parent),
            classes=tuple(str(c) for c in file["classes"]),
            video_id=file["video_id"],
            targets=file["targets"],
            test=json.loads(file["test"].item()),
            networks=json.loads(file["networks"].item()),
            outcomes=outcomes,
            left_out=tuple(left_out),
        )
