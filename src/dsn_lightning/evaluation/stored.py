"""The files that an evaluation leaves for later comparisons, and how they are read.

Besides ``results.json``, a folder contains ``clip_scores.npz`` (see `scores`), from which every method is recomputed,
or, for a fusion of several evaluations, ``video_scores.npz``: the predictions of each method for each video.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.array_archive import open_arrays
from dsn_lightning.evaluation.learning_checks import policy_messages
from dsn_lightning.evaluation.outcomes import NOT_SELECTED, Method, Outcome, StoredEvaluation, evaluation_of
from dsn_lightning.evaluation.results import Row
from dsn_lightning.evaluation.row_check import is_row
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.evaluation.scores_file import NOT_OF_RESULTS, belongs_to_results, scores_file
from dsn_lightning.files import UnreadableFileError, parse_json, replaced
from dsn_lightning.runs import RunFolder
from dsn_lightning.runs.tolerant_files import read_json
from dsn_lightning.selections import Selection


def read_evaluation(folder: Path, selections: Iterable[Selection]) -> StoredEvaluation:
    """Read the outcomes of ``selections`` in the folder of a run or of dsn-evaluate.

    Raises:
        UsageError: the folder has no results or no scores, they cannot be read, or do not belong together.
    """
    run, scores = RunFolder(folder), scores_file(folder)
    if not run.results_json.is_file():
        raise UsageError(f"{folder}: no results.json; give the folder of a run or of dsn-evaluate")
    fused = scores == run.video_scores
    if not scores.is_file():
        remedy = "fuse its streams again" if fused else "give the folder of a run or of dsn-evaluate"
        raise UsageError(f"{folder}: no {scores.name}; {remedy}")
    try:
        rows = read_json(run.results_json)
        if not isinstance(rows, list) or not all(map(is_row, rows)):
            raise UnreadableFileError(run.results_json, "expected a list of rows of results")
        if fused:
            evaluation = load_outcomes(scores, rows, selections)
        else:
            clip_scores = ClipScores.load(scores)
            evaluation = evaluation_of(str(folder), rows, clip_scores, selections)
            evaluation = replace(evaluation, policy_messages=tuple(policy_messages(clip_scores)))
        if not belongs_to_results(folder):
            raise UnreadableFileError(scores, NOT_OF_RESULTS)
        return evaluation
    except (ValueError, KeyError, TypeError, MemoryError) as error:
        reason = f"{error.path.name}: {error.reason}" if isinstance(error, UnreadableFileError) else error
        raise UsageError(f"{folder}: cannot be read as an evaluation ({reason}); evaluate it again") from error


def save_outcomes(evaluation: StoredEvaluation, path: Path) -> None:
    """Write the outcomes of an evaluation as ``video_scores.npz``; the file appears complete or not at all.

    Its columns are those of `StoredEvaluation`; ``outcomes`` contains a JSON object per method, and ``probabilities_0``
    and so on their float32 (D, V, J). Hits are not stored: they do not apply to fused scores.
    """
    outcomes = evaluation.outcomes.items()
    columns: dict[str, Any] = {name: getattr(evaluation, name) for name in ("classes", "video_id", "targets")}
    columns |= {name: json.dumps(getattr(evaluation, name)) for name in ("test", "networks")}
    columns["outcomes"] = [json.dumps({**vars(method), "sampler": o.sampler, "row": o.row}) for method, o in outcomes]
    columns |= {f"probabilities_{i}": outcome.probabilities for i, (_, outcome) in enumerate(outcomes)}
    with replaced(path) as partial:
        np.savez_compressed(partial, **columns)


def load_outcomes(path: Path, rows: Sequence[Row], selections: Iterable[Selection]) -> StoredEvaluation:
    """Read the outcomes of the given selection methods from ``video_scores.npz``.

    Raises:
        UnreadableFileError: the file is damaged, or its arrays contradict each other, or probabilities are not finite.
        ValueError: the file does not belong to ``rows``, those of ``results.json``.
    """
    kinds = {selection.name: selection.kind for selection in selections}
    outcomes, left_out = {}, []
    with open_arrays(path) as file:
        classes, video_id, targets = (file[name] for name in ("classes", "video_id", "targets"))
        described = [parse_json(str(line)) for line in file["outcomes"]]
        if [entry["row"] for entry in described] != list(rows):
            raise ValueError(f"{path.name} and results.json are of different fusions")
        for i, entry in enumerate(described):
            method = Method(entry["selection"], entry["classifier"], entry["M"], entry["N"])
            if method.selection not in kinds:
                left_out.append(f"{method}: {NOT_SELECTED}")
                continue
            kind, probabilities = kinds[method.selection], file[f"probabilities_{i}"]
            expected = (len(video_id), len(classes))
            if probabilities.dtype.kind != "f" or not len(probabilities) or probabilities.shape[1:] != expected:
                raise UnreadableFileError(path, f"expected probabilities (D, {expected[0]}, {expected[1]}) of {method}")
            if not np.isfinite(probabilities).all():
                raise UnreadableFileError(path, f"the probabilities of {method} are not finite")
            outcomes[method] = Outcome(probabilities, None, None, kind, entry["sampler"], entry["row"])
        return StoredEvaluation(
            name=str(path.parent),
            classes=tuple(str(c) for c in classes),
            video_id=video_id,
            targets=targets,
            test=parse_json(file["test"].item()),
            networks=parse_json(file["networks"].item()),
            outcomes=outcomes,
            left_out=tuple(left_out),
        )
