"""The prediction of every method for every video, as lines of ``predictions.csv``."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsn_lightning.evaluation.outcomes import WITHOUT_ROWS, Method, Outcome, StoredEvaluation
from dsn_lightning.metrics import top_k_hits
from dsn_lightning.text_tables import csv_text

PREDICTION_FIELDS = (
    *("selection", "classifier", "M", "N", "seed", "draw", "video", "labels", "predicted", "score", "correct"),
    *("top5", "top5_scores", "starts_seconds"),
)
"""The columns. A cell with several values separates them by semicolons."""


def predictions_csv(evaluation: StoredEvaluation) -> str:
    """Return a line for each method of the results, draw and video."""
    methods = {m: outcome for m, outcome in evaluation.outcomes.items() if m.selection not in WITHOUT_ROWS}
    lines = (line for method, outcome in methods.items() for line in _lines(evaluation, method, outcome))
    return csv_text(lines, PREDICTION_FIELDS)


def _in_order(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return start times in ascending order, without the NaN of clips that are not kept."""
    return np.sort(seconds[~np.isnan(seconds)])


def _lines(evaluation: StoredEvaluation, method: Method, outcome: Outcome) -> Iterator[dict[str, Any]]:
    names, targets = evaluation.classes, torch.from_numpy(evaluation.targets)
    labels = [";".join(names[j] for j in np.flatnonzero(video)) for video in evaluation.targets > 0]
    scheme = {"selection": method.selection, "classifier": method.classifier, "M": method.M, "N": method.N}
    for draw, probabilities in enumerate(torch.from_numpy(outcome.probabilities)):
        score, predicted = (part.squeeze(1).tolist() for part in probabilities.topk(1))
        scores, classes = (part.tolist() for part in probabilities.topk(min(5, len(names))))
        correct = top_k_hits(probabilities, targets, 1).tolist()
        for v, video_id in enumerate(evaluation.video_id):
            starts = () if outcome.kept_seconds is None else _in_order(outcome.kept_seconds[v, draw])
            yield {
                **scheme,
                "seed": outcome.row.get("seed"),
                "draw": draw,
                "video": video_id,
                "labels": labels[v],
                "predicted": names[predicted[v]],
                "score": f"{score[v]:.6f}",
                "correct": int(correct[v]) if labels[v] else None,
                "top5": ";".join(names[j] for j in classes[v]),
                "top5_scores": ";".join(f"{value:.6f}" for value in scores[v]),
                "starts_seconds": ";".join(f"{start:.3f}" for start in starts),
            }
