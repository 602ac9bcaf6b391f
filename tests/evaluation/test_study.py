"""Intervals and differences: against scikit-learn and SciPy, by hand, and by simulation."""

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from sklearn.metrics import average_precision_score

from dsn_lightning.evaluation.outcomes import Method, evaluation_of
from dsn_lightning.evaluation.resampling import average_precisions, resamples
from dsn_lightning.evaluation.study import RATES, Study, figures_of
from dsn_lightning.metrics import video_metrics
from helpers.clip_scores import scored
from helpers.evaluations import DSN, UNIFORM, evaluation, favouring, one_hot, outcome, predicting


@pytest.mark.parametrize("levels", [0, 4], ids=["no ties", "ties"])
def test_figures_of_resamples_equal_those_of_the_repeated_videos(levels):
    rng = np.random.default_rng(0)
    labels = rng.integers(6, size=40)
    targets = one_hot(labels, 7)  # no video is of the last class
    targets[:3, 6 - np.arange(3)] = 1  # some with two labels
    targets[3] = 0  # and one with none
    scores = favouring(labels, 7, 1.0, rng)
    if levels:
        scores = (np.ceil(scores * levels) / levels).astype(np.float32)
    counts = resamples(40, number=30, seed=1)
    figures = figures_of(outcome(scores), targets, counts)
    precision = average_precisions(scores, targets, counts)
    for r, repeats in enumerate(counts.counts.T.astype(int)):
        video = np.repeat(np.arange(40), repeats)
        theirs = video_metrics(torch.from_numpy(scores[video]), torch.from_numpy(targets[video]))
        assert {f: figures[f][r] for f in ("top1", "mean_class", "map")} == pytest.approx(
            {f: theirs[f] for f in ("top1", "mean_class", "map")}, abs=1e-6
        )
        present = [j for j in range(7) if targets[video, j].any()]
        assert np.flatnonzero(~np.isnan(precision[:, r])).tolist() == present
        by_class = [average_precision_score(targets[video, j], scores[video, j]) for j in present]
        assert precision[present, r] == pytest.approx(by_class, abs=1e-6)


def test_figures_equal_those_of_the_results():
    """Also for a random method, the metrics of whose draws are averaged."""
    scores, rows, selections = scored(0)
    study = Study([evaluation_of("run", rows, scores, selections)], number=100)
    for row in rows:
        method = Method(row["selection"], row["classifier"], row["M"], row["N"])
        for figure in RATES:
            assert study.figure(method, figure).seeds[0] == pytest.approx(row[figure], abs=1e-6), (method, figure)


def test_interval_equals_scipys_paired_bootstrap():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=150)
    targets = one_hot(labels, 4)
    first, second = (favouring(labels, 4, strength, rng) for strength in (1.5, 1.0))
    study = Study([evaluation({DSN: outcome(first), UNIFORM: outcome(second)}, targets)], number=8000, seed=3)
    ours = study.difference(DSN, UNIFORM, "top1")
    hits = [(answered.argmax(1) == labels).astype(float) for answered in (first, second)]
    theirs = bootstrap(
        hits,
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=8000,
        rng=np.random.default_rng(4),
    ).confidence_interval
    assert ours.value == pytest.approx(hits[0].mean() - hits[1].mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.007)  # one video is 0.0067


def test_the_same_resamples_serve_all_methods_and_seeds():
    """Two methods that are correct on the same videos differ by 0 in every resample."""
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=50)
    scores = favouring(labels, 4, 1.0, rng)
    runs = [
        evaluation({DSN: outcome(scores), UNIFORM: outcome(scores)}, one_hot(labels, 4), name=name) for name in "ab"
    ]
    study = Study(runs, number=200)
    for figure in ("top1", "mean_class", "map"):
        difference = study.difference(DSN, UNIFORM, figure)
        assert (difference.value, difference.low, difference.high, difference.spread) == (0, 0, 0, 0)
        one = Study(runs[:1], number=200).figure(DSN, figure)
        both = study.figure(DSN, figure)
        assert (one.low, one.high) == pytest.approx((both.low, both.high))
    assert study.figure(DSN, "top1").low < study.figure(DSN, "top1").high


def test_intervals_repeat_and_depend_on_the_seed():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=60)
    run = evaluation({DSN: outcome(favouring(labels, 4, 1.0, rng))}, one_hot(labels, 4))
    first, again, other = (Study([run], number=300, seed=seed).figure(DSN, "map") for seed in (5, 5, 6))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


def test_intervals_cover_the_truth():
    """250 test sets of 150 videos: about 95% of the intervals contain the mean difference over many sets."""
    rng = np.random.default_rng(1)
    found: dict[str, list] = {"top1": [], "map": []}
    for i in range(250):
        labels = rng.integers(5, size=150)
        targets = one_hot(labels, 5)
        shared = rng.normal(size=(150, 5))  # a video's difficulty, for both methods
        runs = {
            method: outcome(softmax(strength * targets + 0.8 * shared + 0.6 * rng.normal(size=(150, 5))))
            for method, strength in ((DSN, 1.4), (UNIFORM, 1.1))
        }
        study = Study([evaluation(runs, targets)], number=400, seed=i)
        for figure, estimates in found.items():
            estimates.append(study.difference(DSN, UNIFORM, figure))
    for figure, estimates in found.items():
        truth = np.mean([one.value for one in estimates])  # an interval's half-width is 30 of its standard errors
        covered = np.mean([one.low <= truth <= one.high for one in estimates])
        assert 0.91 <= covered <= 0.985, figure  # 0.95 within three standard errors of 250 yes or no


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(2 * logits)
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def test_seeds_are_averaged_and_their_spread_is_given():
    targets = one_hot([0, 0, 1, 1], 2)
    predicted = ([0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0])  # 1, 0.75, 0.5
    runs = [
        evaluation({UNIFORM: outcome(predicting(classes), seed=i)}, targets, name=f"run {i}")
        for i, classes in enumerate(predicted)
    ]
    found = Study(runs, number=200).figure(UNIFORM, "top1")
    assert found.seeds == (1, 0.75, 0.5)
    assert found.value == pytest.approx(0.75)
    assert found.spread == pytest.approx(0.25)
    wider = Study(runs, number=2000, resample_seeds=True).figure(UNIFORM, "top1")
    assert wider.high - wider.low > found.high - found.low


def test_mcnemar_by_hand():
    targets = one_hot([0] * 10, 2)
    first, second = predicting([0] * 9 + [1]), predicting([0] * 3 + [1] * 6 + [0])
    run = evaluation({DSN: outcome(first), UNIFORM: outcome(second)}, targets)
    study = Study([run], number=100)
    assert study.mcnemar(DSN, UNIFORM) == pytest.approx([2 * (1 + 7) / 2**7])  # 6 of 7 or more, two-sided
    assert study.mcnemar(DSN, DSN) == [1.0]
    several = evaluation({DSN: outcome(np.stack([first, second])), UNIFORM: outcome(second)}, targets)
    assert Study([several], number=100).mcnemar(DSN, UNIFORM) == [None]
