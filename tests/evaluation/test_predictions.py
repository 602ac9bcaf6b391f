"""``predictions.csv``, read with pandas."""

import io

import numpy as np
import pandas as pd
import pytest

from dsn_lightning.evaluation.outcomes import evaluation_of
from dsn_lightning.evaluation.predictions import PREDICTION_FIELDS, predictions_csv
from dsn_lightning.selections import Uniform
from helpers.clip_scores import SCHEME, columns, log, scored, video
from helpers.evaluations import UNIFORM, evaluation, one_hot, outcome

METHOD = ["selection", "classifier", "M", "N"]


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def test_top1_of_each_row_is_the_mean_of_its_lines():
    scores, rows, selections = scored(3)
    table = read(predictions_csv(evaluation_of("run", rows, scores, selections)))
    assert tuple(table.columns) == PREDICTION_FIELDS
    found = table.groupby(METHOD)["correct"].mean()
    assert len(found) == len(rows)
    for row in rows:
        assert found[tuple(row[name] for name in METHOD)] == pytest.approx(row["top1"])
        assert set(table[table["selection"] == row["selection"]]["seed"]) == {row["seed"]}
    draws = table.groupby("selection")["draw"].nunique()
    assert draws.pop("random") == SCHEME.random_draws
    assert set(draws) == {1}
    assert ((table["predicted"] == table["labels"]) == table["correct"]).all()


def test_a_line_by_hand():
    """Two uniform clips at frames 20 and 70 of 25 frames per second, class probabilities (0.3, 0.7) and (0.4, 0.6)."""
    scores = columns(
        [video(logits={"baseline": {20: log(0.3, 0.7), 70: log(0.4, 0.6)}})], classes=["run", "jump, high"]
    )
    rows = [{"selection": "uniform", "classifier": "baseline", "M": 2, "N": 2, "seed": 5}]
    (line,) = read(predictions_csv(evaluation_of("run", rows, scores, [Uniform()]))).to_dict("records")
    assert line == {
        **rows[0],
        "draw": 0,
        "video": "v",
        "labels": "run",
        "predicted": "jump, high",
        "score": 0.65,
        "correct": 0,
        "top5": "jump, high;run",
        "top5_scores": "0.650000;0.350000",
        "starts_seconds": "0.800;2.800",
    }


def test_several_labels_none_and_fused_streams():
    targets = np.array([[1, 1, 0], [0, 0, 0]], np.float32)
    table = read(predictions_csv(evaluation({UNIFORM: outcome(0.5 * one_hot([1, 2], 3))}, targets)))
    assert table["labels"].fillna("").tolist() == ["class 0;class 1", ""]
    assert table["correct"].tolist()[0] == 1
    assert pd.isna(table["correct"][1])
    assert table["starts_seconds"].isna().all()  # not known of a fusion
