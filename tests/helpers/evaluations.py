"""Evaluations made of class probabilities."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from dsn_lightning.evaluation.outcomes import Method, Outcome, StoredEvaluation
from helpers.clip_scores import scored

UNIFORM, DENSE, ORACLE, EXACT, MOST_CONFIDENT, DSN, DSN_F = (
    Method(name, "baseline", 6, 3)
    for name in ("uniform", "dense", "oracle", "oracle_exact", "surest", "dsn", "dsn_fixed")
)
DSN_WITH_OWN_CLASSIFIER = Method("dsn", "dsn", 6, 3)


def one_hot(labels: list[int] | np.ndarray, num_classes: int) -> np.ndarray:
    return np.eye(num_classes, dtype=np.float32)[labels]


def predicting(classes: list[int] | np.ndarray, num_classes: int = 2) -> np.ndarray:
    """Class probabilities (V, J) with the given top-1."""
    return 0.8 * one_hot(classes, num_classes) + 0.2 / num_classes


def correct_on(number: int, num_videos: int = 10, **changes) -> Outcome:
    """An outcome that is correct on the first ``number`` of videos of class 0."""
    return outcome(predicting([0] * number + [1] * (num_videos - number)), **changes)


def favouring(labels: np.ndarray, num_classes: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Class probabilities (V, J) that favour the true class the more, the larger ``strength``."""
    logits = rng.normal(size=(len(labels), num_classes)) + strength * np.eye(num_classes)[labels]
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)


def outcome(probabilities: np.ndarray, *, sampler: str | None = None, seed: int = 0, **changes) -> Outcome:
    """Of probabilities (V, J) or (D, V, J); a method with a sampler is a learned one."""
    stacked = probabilities if probabilities.ndim == 3 else probabilities[None]
    kind = "reference" if sampler is None else "learned"
    row = {"dataset": "activitynet", "seed": seed, "clips": 6}
    return replace(Outcome(stacked, None, None, kind, sampler, row), **changes)


def evaluation(
    outcomes: dict[Method, Outcome], targets: np.ndarray, *, name: str = "run", **changes
) -> StoredEvaluation:
    arguments = {
        "classes": tuple(f"class {j}" for j in range(targets.shape[1])),
        "video_id": np.array([f"v{v}" for v in range(len(targets))]),
        "test": {"crops": 1},
        "networks": {"baseline": name},
    }
    return StoredEvaluation(
        name=name, targets=targets.astype(np.float32), outcomes=outcomes, **{**arguments, **changes}
    )


def write_evaluations(folder: Path, seeds: int = 2) -> list[Path]:
    """Write the clip scores and results of `scored`, a folder per seed."""
    folders = [folder / f"seed{seed}" for seed in range(seeds)]
    for seed, place in enumerate(folders):
        scores, rows, _ = scored(seed)
        place.mkdir()
        scores.save(place / "clip_scores.npz")
        (place / "results.json").write_text(json.dumps(rows))
    return folders
