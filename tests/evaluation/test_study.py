"""Intervals, gap shares, headroom and gains by class: by hand, against scikit-learn and SciPy, and by simulation."""

import dataclasses
import importlib.util
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from sklearn.metrics import average_precision_score, confusion_matrix, recall_score

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation import comparison_table
from dsn_lightning.evaluation.class_gains import class_gains, confusion_counts
from dsn_lightning.evaluation.headroom import gap_share, gap_shares, headroom, paper_share
from dsn_lightning.evaluation.outcomes import Method, Outcome, StoredEvaluation, align, beside, evaluation_of
from dsn_lightning.evaluation.resampling import as_they_are, average_precisions, class_means, ratio, resamples
from dsn_lightning.evaluation.results import measure
from dsn_lightning.evaluation.statistics_file import compare_runs, pairs, summary
from dsn_lightning.evaluation.study import FIGURES, Study, figures_of
from dsn_lightning.metrics import video_metrics
from dsn_lightning.selections.oracle import Oracle
from dsn_lightning.selections.policy import Policy
from dsn_lightning.selections.random_clips import Random
from dsn_lightning.selections.scheme import VideoScores
from dsn_lightning.selections.uniform import Dense, Uniform
from helpers.clip_scores import SCHEME, columns

UNIFORM, DENSE, ORACLE, SUREST, DSN, DSN_F = (
    Method(name, "baseline", 6, 3) for name in ("uniform", "dense", "oracle", "surest", "dsn", "dsn_fixed")
)
OWN = Method("dsn", "dsn", 6, 3)


def answers_of(labels: np.ndarray, num_classes: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Class probabilities (V, J) that favour the true class the more, the larger ``strength``."""
    logits = rng.normal(size=(len(labels), num_classes)) + strength * np.eye(num_classes)[labels]
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)


def outcome(probabilities: np.ndarray, *, sampler: str | None = None, seed: int = 0, hits=None, held=None) -> Outcome:
    stacked = probabilities if probabilities.ndim == 3 else probabilities[None]
    return Outcome(stacked, hits, held, sampler, {"dataset": "activitynet", "seed": seed, "clips": 6})


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


def one_hot(labels: list[int] | np.ndarray, num_classes: int) -> np.ndarray:
    return np.eye(num_classes, dtype=np.float32)[labels]


def taken_for(answers: list[int], num_classes: int = 2) -> np.ndarray:
    return 0.8 * one_hot(answers, num_classes) + 0.2 / num_classes


@pytest.mark.parametrize("levels", [0, 4], ids=["no ties", "ties"])
def test_figures_of_resamples_equal_those_of_the_repeated_videos(levels):
    rng = np.random.default_rng(0)
    labels = rng.integers(6, size=40)
    targets = one_hot(labels, 7)  # nobody is of the last class
    targets[:3, 6 - np.arange(3)] = 1  # some with two labels
    targets[3] = 0  # and one with none
    scores = answers_of(labels, 7, 1.0, rng)
    if levels:
        scores = (np.ceil(scores * levels) / levels).astype(np.float32)
    counts = resamples(40, number=30, seed=1)
    figures = figures_of(outcome(scores), targets, counts)
    precision = average_precisions(scores, targets, counts)
    for r, own in enumerate(counts.counts.T.astype(int)):
        video = np.repeat(np.arange(40), own)
        theirs = video_metrics(torch.from_numpy(scores[video]), torch.from_numpy(targets[video]))
        assert {f: figures[f][r] for f in ("top1", "mean_class", "map")} == pytest.approx(
            {f: theirs[f] for f in ("top1", "mean_class", "map")}, abs=1e-6
        )
        present = [j for j in range(7) if targets[video, j].any()]
        assert np.flatnonzero(~np.isnan(precision[:, r])).tolist() == present
        by_class = [average_precision_score(targets[video, j], scores[video, j]) for j in present]
        assert precision[present, r] == pytest.approx(by_class, abs=1e-6)


def test_many_classes_in_several_blocks_equal_scikit_learns():
    rng = np.random.default_rng(0)
    labels = rng.integers(30, size=1500)  # three blocks
    scores, targets = answers_of(labels, 30, 1.0, rng), one_hot(labels, 30)
    own = average_precisions(scores, targets, as_they_are(1500))[:, 0]
    assert own == pytest.approx(average_precision_score(targets, scores, average=None), abs=1e-6)


def test_a_resample_by_hand():
    scores = np.array([[0.9], [0.8], [0.7]], np.float32)
    targets = np.array([[1.0], [0.0], [1.0]], np.float32)
    twice_the_wrong_one = dataclasses.replace(as_they_are(3), counts=np.array([[1.0], [2.0], [1.0]]))
    assert average_precisions(scores, targets, twice_the_wrong_one) == pytest.approx(np.array([[(1 + 2 / 4) / 2]]))
    assert ratio(np.array([1, 0, 1]), np.ones(3), twice_the_wrong_one) == pytest.approx([0.5])
    assert class_means(np.array([1.0, 1, 0]), targets, twice_the_wrong_one) == pytest.approx(np.array([[0.5]]))


def test_a_resample_without_anything_to_count_gives_no_figure():
    only_the_second = dataclasses.replace(as_they_are(2), counts=np.array([[0.0], [2.0]]))
    assert np.isnan(ratio(np.array([1, 0]), np.array([1, 0]), only_the_second)).all()


def test_figures_are_those_of_the_results():
    """Also where a method is random: the metrics of its draws are averaged."""
    scores, rows, selections = scored(0)
    study = Study([evaluation_of("run", rows, scores, selections)], number=100)
    for row in rows:
        method = Method(row["selection"], row["classifier"], row["M"], row["N"])
        for figure in FIGURES:
            assert study.figure(method, figure).seeds[0] == pytest.approx(row[figure], abs=1e-6), (method, figure)


def test_interval_equals_scipys_paired_bootstrap():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=150)
    targets = one_hot(labels, 4)
    first, second = (answers_of(labels, 4, strength, rng) for strength in (1.5, 1.0))
    study = Study(
        [evaluation({DSN: outcome(first), UNIFORM: outcome(second)}, targets)], number=8000, seed=3,
    )  # fmt: skip
    own = study.difference(DSN, UNIFORM, "top1")
    hits = [(answered.argmax(1) == labels).astype(float) for answered in (first, second)]
    theirs = bootstrap(
        hits, lambda a, b, axis: a.mean(axis) - b.mean(axis), paired=True, method="percentile", n_resamples=8000,
        rng=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    assert own.value == pytest.approx(hits[0].mean() - hits[1].mean())
    assert (own.low, own.high) == pytest.approx((theirs.low, theirs.high), abs=0.007)  # one video is 0.0067


def test_the_same_resamples_serve_all_methods_and_seeds():
    """So two methods that are right on the same videos differ by nothing in every resample."""
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=50)
    scores = answers_of(labels, 4, 1.0, rng)
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
    run = evaluation({DSN: outcome(answers_of(labels, 4, 1.0, rng))}, one_hot(labels, 4))
    first, again, other = (Study([run], number=300, seed=seed).figure(DSN, "map") for seed in (5, 5, 6))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


def test_intervals_cover_the_truth():
    """250 test sets of 150 videos: about 95% of the intervals hold the mean difference over many sets."""
    rng = np.random.default_rng(1)
    found: dict[str, list] = {"top1": [], "map": []}
    for i in range(250):
        labels = rng.integers(5, size=150)
        targets = one_hot(labels, 5)
        shared = rng.normal(size=(150, 5))  # what makes a video hard for both methods
        runs = {
            method: outcome(softmax(strength * targets + 0.8 * shared + 0.6 * rng.normal(size=(150, 5))))
            for method, strength in ((DSN, 1.4), (UNIFORM, 1.1))
        }
        study = Study([evaluation(runs, targets)], number=400, seed=i)
        for figure, own in found.items():
            own.append(study.difference(DSN, UNIFORM, figure))
    for figure, own in found.items():
        truth = np.mean([one.value for one in own])  # an interval's half-width is 30 of its standard errors
        covered = np.mean([one.low <= truth <= one.high for one in own])
        assert 0.91 <= covered <= 0.985, figure  # 0.95 within three standard errors of 250 yes or no


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(2 * logits)
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def test_seeds_are_averaged_and_their_spread_is_given():
    targets = one_hot([0, 0, 1, 1], 2)
    right_on = ([0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0])  # 1, 0.75, 0.5
    runs = [
        evaluation({UNIFORM: outcome(taken_for(own), seed=i)}, targets, name=f"run {i}")
        for i, own in enumerate(right_on)
    ]
    found = Study(runs, number=200).figure(UNIFORM, "top1")
    assert found.seeds == (1, 0.75, 0.5)
    assert found.value == pytest.approx(0.75)
    assert found.spread == pytest.approx(0.25)
    wider = Study(runs, number=2000, resample_seeds=True).figure(UNIFORM, "top1")
    assert wider.high - wider.low > found.high - found.low


def test_mcnemar_by_hand():
    targets = one_hot([0] * 10, 2)
    first, second = taken_for([0] * 9 + [1]), taken_for([0] * 3 + [1] * 6 + [0])
    run = evaluation({DSN: outcome(first), UNIFORM: outcome(second)}, targets)
    study = Study([run], number=100)
    assert study.mcnemar(DSN, UNIFORM) == pytest.approx([2 * (1 + 7) / 2**7])  # 6 of 7 or more, two-sided
    assert study.mcnemar(DSN, DSN) == [1.0]
    several = evaluation({DSN: outcome(np.stack([first, second])), UNIFORM: outcome(second)}, targets)
    assert Study([several], number=100).mcnemar(DSN, UNIFORM) == [None]


def test_evaluations_are_aligned_by_video():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=30)
    targets, scores = one_hot(labels, 3), answers_of(labels, 3, 1.0, rng)
    counted = {"hits": rng.integers(2, size=30), "held": np.ones(30, int)}
    first = evaluation({UNIFORM: outcome(scores, **counted)}, targets, name="first")
    mixed = rng.permutation(30)
    moved = {name: values[mixed] for name, values in counted.items()}
    second = evaluation(
        {UNIFORM: outcome(scores[mixed], **moved)}, targets[mixed], name="second", video_id=first.video_id[mixed]
    )
    own, other = align([first, second])
    assert np.array_equal(own.outcomes[UNIFORM].probabilities, other.outcomes[UNIFORM].probabilities)
    both = Study([first, second], number=100)
    for figure in FIGURES:
        assert len(set(both.figure(UNIFORM, figure).seeds)) == 1


def test_another_trainings_evaluation_stands_beside():
    """What a control answers with its own classifier is paired with ours; the baseline that both share counts once."""
    labels = np.zeros(10, int)
    right_on = lambda n: outcome(taken_for([0] * n + [1] * (10 - n)))  # noqa: E731
    uniform_own = Method("uniform", "dsn", 6, 3)
    first = {UNIFORM: right_on(4), uniform_own: right_on(5), OWN: dataclasses.replace(right_on(8), sampler="dsn")}
    second = {UNIFORM: right_on(4), uniform_own: right_on(7)}
    targets = one_hot(labels, 2)
    own = evaluation(first, targets, name="a", networks={"baseline": "b", "dsn": "1", "dsn sampler": "s"})
    control = evaluation(second, targets, name="c", networks={"baseline": "b", "dsn": "2", "dsn sampler": "s"})
    joined = beside(own, "control", control)
    named = Method("uniform", "control:dsn", 6, 3)
    assert set(joined.outcomes) == {*first, named}
    study = Study([joined], number=100)
    assert study.difference(OWN, named, "top1").value == pytest.approx(0.1)
    assert study.difference(uniform_own, named, "top1").value == pytest.approx(-0.2)
    shown = {
        (d["method"]["selection"], d["method"]["classifier"], d["other"]["selection"], d["other"]["classifier"])
        for d in comparison_table.main_differences(summary(study))
    }
    assert {("dsn", "dsn", "uniform", "control:dsn"), ("uniform", "dsn", "uniform", "control:dsn")} <= shown
    with pytest.raises(UsageError, match="has the same networks"):
        beside(own, "control", own)


def test_trainings_of_other_numbers_of_candidates_are_held_against_each_other():
    """Table II: each keeps three clips a video, of three or of six a section."""
    targets = one_hot(np.zeros(10, int), 2)

    def trained(n: int, clips: int, name: str) -> StoredEvaluation:
        outcomes = {
            Method(chosen, "dsn", 3, clips): outcome(
                taken_for([0] * right + [1] * (10 - right)),
                sampler=sampler,
                hits=np.ones(10, int),
                held=np.ones(10, int),
            )
            for chosen, right, sampler in (("dsn", n, "dsn"), ("uniform", 2, None))
        }
        return evaluation(outcomes, targets, name=name, networks={"dsn": name, "dsn sampler": name})

    joined = beside(trained(8, 3, "a"), "b", trained(7, 3, "b"))
    study = Study([beside(joined, "c", trained(5, 6, "c"))], number=100)
    statistics = summary(study)
    shown = {
        (d["method"]["selection"], d["method"]["classifier"], d["other"]["classifier"]): d["top1"]["value"]
        for d in comparison_table.main_differences(statistics) if d["method"]["selection"] == d["other"]["selection"]
    }  # fmt: skip
    assert {key[1:]: round(value, 6) for key, value in shown.items() if key[0] == "dsn"} == {
        ("dsn", "b:dsn"): 0.1, ("dsn", "c:dsn"): 0.3, ("b:dsn", "c:dsn"): 0.2,
    }  # fmt: skip
    of_two = [d for d in statistics["differences"] if d["method"]["N"] != d["other"]["N"]]
    assert all(d["method"]["selection"] == d["other"]["selection"] for d in of_two)
    assert all((d["hit_rate"] is None) == (d in of_two) for d in statistics["differences"])  # of other sections
    table = comparison_table.markdown_differences(statistics, comparison_table.main_differences(statistics))
    assert "| dsn | dsn | dsn (c:dsn) | 3:3 and 3:6 | +30.0 " in table


def test_methods_that_not_all_have_are_named():
    targets = one_hot([0, 1], 2)
    same = outcome(taken_for([0, 1]))
    first = evaluation({UNIFORM: same, DSN: same}, targets, name="a")
    study = Study([first, evaluation({UNIFORM: same}, targets, name="b")], number=100)
    assert study.methods == [UNIFORM]
    assert summary(study)["about"]["left_out"] == [f"{DSN}: not in every evaluation"]


TWO = one_hot([0, 1], 2)
SAME = outcome(taken_for([0, 1]))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (evaluation({UNIFORM: SAME}, TWO, name="b", classes=("x", "y")), "b has other classes than a"),
        (evaluation({UNIFORM: SAME}, TWO, name="b", video_id=np.array(["v0", "w"])), "v1 is lacking there"),
        (evaluation({UNIFORM: SAME}, one_hot([0, 0], 2), name="b"), "other labels for video v1"),
        (evaluation({UNIFORM: SAME}, TWO, name="b", test={"crops": 3}), "b was tested with crops=3, a with 1"),
        (evaluation({DSN: SAME}, TWO, name="b"), "a and b have no method"),
        (evaluation({UNIFORM: SAME}, TWO, name="b", networks={"baseline": "a"}), "of the same networks"),
        (
            evaluation({UNIFORM: dataclasses.replace(SAME, row={**SAME.row, "gamma": 1})}, TWO, name="b"),
            "differ in more than the seed: uniform (baseline's classifier), 6:3 has gamma=1 and None",
        ),
    ],
)
def test_evaluations_that_do_not_fit_are_refused(other, message):
    with pytest.raises(UsageError) as error:
        Study([evaluation({UNIFORM: SAME}, TWO, name="a"), other])
    assert message in str(error.value)


def gap_study(method_right: list[int], *, low: int = 40, high: int = 80, number: int = 500) -> Study:
    """100 videos of two classes; uniform clips are right on the first ``low``, the oracle's on the first ``high``."""
    labels = np.arange(100) % 2

    def right_on(places) -> Outcome:
        answered = 1 - labels
        answered[list(places)] = labels[list(places)]
        return outcome(taken_for(answered), sampler=None)

    outcomes = {
        UNIFORM: right_on(range(low)), ORACLE: right_on(range(high)), SUREST: right_on(range(low)),
        DSN_F: dataclasses.replace(right_on(method_right), sampler="dsn_fixed"),
    }  # fmt: skip
    return Study([evaluation(outcomes, one_hot(labels, 2))], number=number)


def test_share_of_the_gap_by_hand():
    found = gap_share(gap_study(range(50)), DSN_F, UNIFORM, ORACLE, "top1")
    assert found.share.value == pytest.approx(10 / 40)
    assert found.share.low < 0.25 < found.share.high
    assert found.share.low > 0
    assert found.share.high < 1
    assert (found.low.value, found.high.value) == pytest.approx((0.4, 0.8))
    assert gap_share(gap_study(range(30)), DSN_F, UNIFORM, ORACLE, "top1").share.value == pytest.approx(-10 / 40)


@pytest.mark.parametrize("high", [40, 41])
def test_a_gap_near_nothing_is_not_divided_by(high):
    found = gap_share(gap_study(range(50), high=high), DSN_F, UNIFORM, ORACLE, "top1")
    assert found.share is None
    assert "too small to divide by" in found.reason
    assert json.loads(json.dumps(found.as_json()))["share"] is None


def test_the_papers_shares():
    """16% and 95% are what its Table I gives."""
    figures = [paper_share(column) for column in ("activitynet/top1", "thumos14/map", "ucf101/top1", "hmdb51/top1")]
    assert figures == pytest.approx([4.1 / 26.0, 10.3 / 10.8, 1.9 / 5.5, 2.7 / 10.0])
    assert [round(100 * figure) for figure in figures[:2]] == [16, 95]
    assert paper_share("needle/top1") is None


def test_mixed_shares_take_the_baselines_gap():
    labels = np.zeros(100, int)
    right_on = lambda n: outcome(taken_for([0] * n + [1] * (100 - n)))  # noqa: E731
    outcomes = {
        UNIFORM: right_on(40), ORACLE: right_on(80), DSN_F: right_on(40),
        Method("uniform", "dsn", 6, 3): right_on(20), Method("oracle", "dsn", 6, 3): right_on(60),
        OWN: dataclasses.replace(right_on(50), sampler="dsn"),
    }  # fmt: skip
    shares = gap_shares(Study([evaluation(outcomes, one_hot(labels, 2))], number=200), OWN)
    found = {(own["ends"], own["figure"]): own["share"] for own in shares}
    assert found["same classifier", "top1"]["value"] == pytest.approx(30 / 40)
    assert found["mixed", "top1"]["value"] == pytest.approx(10 / 40)
    assert [own["paper"] for own in shares if own["figure"] == "top1"] == pytest.approx([4.1 / 26.0] * 2)


def test_headroom_says_what_a_baseline_can_gain():
    (entry,) = headroom(gap_study(range(50)))
    assert entry["figures"]["top1"]["oracle"]["value"] == pytest.approx(0.4)
    assert "at 6:3 a perfect choice of clips would gain +40.0 [+3" in entry["verdict"]
    assert "may be luck" in entry["verdict"]  # the surest clips are the uniform ones here
    (nothing,) = headroom(gap_study(range(50), high=40))
    assert "no sampler can help" in nothing["verdict"]


def test_gains_by_class_and_confusion_equal_scikit_learns():
    rng = np.random.default_rng(0)
    labels = np.append(rng.integers(3, size=59), 4)  # of class 3 is none
    targets = one_hot(labels, 5)
    first, second = (answers_of(labels, 5, strength, rng) for strength in (2.0, 0.5))
    study = Study([evaluation({DSN: outcome(first), UNIFORM: outcome(second)}, targets)], number=100)
    gains = {own["class"]: own for own in class_gains(study, DSN, UNIFORM)}
    assert set(gains) == {"class 0", "class 1", "class 2", "class 4"}
    recall = [recall_score(labels, s.argmax(1), labels=[0, 1, 2, 4], average=None) for s in (first, second)]
    for i, j in enumerate((0, 1, 2, 4)):
        own = gains[f"class {j}"]
        assert (own["top1"], own["other_top1"]) == pytest.approx((recall[0][i], recall[1][i]))
        assert own["ap"] == pytest.approx(average_precision_score(targets[:, j], first[:, j]), abs=1e-6)
        assert own["videos"] == (labels == j).sum()
    order = [own["top1_gain"] for own in class_gains(study, DSN, UNIFORM)]
    assert all(before >= after for before, after in pairwise(order))
    assert np.array_equal(confusion_counts(study, DSN), confusion_matrix(labels, first.argmax(1), labels=range(5)))


def scored(seed: int, num_videos: int = 24):
    """Clip scores of two classes, with spans and a policy, their rows and methods."""
    rng = np.random.default_rng(seed)
    selections = [Random(), Uniform(), Policy("dsn", ("baseline",)), Dense(), Oracle()]
    videos, spans = [], []
    for v in range(num_videos):
        label = v % 2
        places = {int(s) for own in selections[:2] for s in own.candidates(f"v{v}", 100, SCHEME)}
        places |= {int(s) for own in selections[2:] for s in own.candidates(f"v{v}", 100, SCHEME)}
        logits = {s: (rng.normal(size=2) + 0.4 * one_hot(label, 2)).astype(np.float32) for s in places}
        policy = rng.normal(size=(2, 2)).astype(np.float32)
        videos.append(
            VideoScores(f"v{v}", 100, one_hot(label, 2), {"baseline": logits}, {"dsn": {(2, 2): policy}})
        )  # fmt: skip
        spans.append((v, (0.2, 1.6)))
    scores = dataclasses.replace(columns(videos, spans), dense_clips=SCHEME.dense_clips)
    scores = dataclasses.replace(scores, network_hash=np.array([str(seed)]))
    rows = []
    for selection in selections:
        if "baseline" in selection.classifiers:
            row = measure(scores, selection, SCHEME, "baseline", consensus="probabilities")
            described = {"dataset": "d", "selection": selection.name, "classifier": "baseline", "M": 2, "N": 2}
            rows.append({**described, "seed": seed, **row})
    return scores, rows, selections


@pytest.fixture
def folders(tmp_path):
    """Two evaluations on disk, of two seeds."""
    for seed in range(2):
        scores, rows, _ = scored(seed)
        folder = tmp_path / f"seed{seed}"
        folder.mkdir()
        scores.save(folder / "clip_scores.npz")
        (folder / "results.json").write_text(json.dumps(rows))
    return [tmp_path / "seed0", tmp_path / "seed1"]


def test_folders_are_compared_over_seeds(folders):
    selections = scored(0)[2]
    statistics = json.loads(json.dumps(compare_runs(folders, selections, number=200), allow_nan=False))
    assert statistics["about"]["seeds"] == [0, 1]
    rows = [json.loads((folder / "results.json").read_text()) for folder in folders]
    by = {own["selection"]: own for own in statistics["methods"]}
    assert set(by) == {"random", "uniform", "dsn", "dense", "oracle"}
    for position, row in enumerate(rows[0]):
        for figure in FIGURES:
            seeds = [rows[0][position][figure], rows[1][position][figure]]
            assert by[row["selection"]][figure]["seeds"] == pytest.approx(seeds, abs=1e-6)
    (entry,) = statistics["headroom"]
    assert set(entry["figures"]["map"]) == {"uniform", "oracle", "dense", "surest"}
    pair = next(d for d in statistics["differences"] if d["method"]["selection"] == "dsn"
                and d["other"]["selection"] == "uniform")  # fmt: skip
    assert pair["same_classifier"]
    assert pair["top1"]["value"] == pytest.approx(by["dsn"]["top1"]["value"] - by["uniform"]["top1"]["value"])
    markdown = comparison_table.markdown_differences(statistics, comparison_table.main_differences(statistics))
    assert comparison_table.points(pair["top1"]) in markdown
    assert markdown.count("\n") == 4  # dsn against dense and uniform
    assert sum(map(sum, statistics["confusion"]["counts"])) == 48


def test_dense_clips_of_another_training_are_held_against_what_is_learned_at_any_scheme():
    """Tables V and VI: dense clips are evaluated with the baseline's M:N, DSN with 6:3 and 10:3."""
    learned = [Method("dsn", "dsn", m, 3) for m in (6, 10)]
    dense = [Method("dense", "tsn:baseline", 1, 3), Method("dense", "flow:baseline", 1, 3)]
    assert pairs([*learned, *dense]) == [*((own, other) for own in learned for other in dense), tuple(dense)]
    at_hand = Method("dense", "tsn:baseline", 6, 3)
    assert pairs([learned[0], dense[0], at_hand]) == [(learned[0], at_hand)]
    own, uniform = Method("dense", "baseline", 6, 3), Method("uniform", "baseline", 6, 3)
    assert pairs([own, dense[0], uniform]) == [(own, uniform)]


def test_what_cannot_be_compared_is_named(folders):
    selections = [own for own in scored(0)[2] if own.name != "random"]
    rows = json.loads((folders[0] / "results.json").read_text())
    rows.append({**rows[0], "selection": "uniform", "M": 3})  # whose positions were not scored
    (folders[0] / "results.json").write_text(json.dumps(rows))
    left_out = compare_runs(folders[:1], selections, number=100)["about"]["left_out"]
    assert left_out == [
        "random (baseline's classifier), 2:2: its selection method was not asked for or is not known here",
        "uniform (baseline's classifier), 3:2: the scores of what it keeps are not stored; had it other settings?",
    ]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "clip_scores.npz").unlink(), "holds no clip_scores.npz"),
        (lambda folder: (folder / "clip_scores.npz").write_bytes(b"junk"), "cannot be read as an evaluation"),
        (lambda folder: (folder / "results.json").write_text("{"), "cannot be read as an evaluation"),
    ],
)
def test_a_folder_that_cannot_be_read_gets_one_line(folders, damage, message):
    damage(folders[1])
    with pytest.raises(UsageError) as error:
        compare_runs(folders, scored(0)[2], number=100)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def compare_script(monkeypatch):
    """`experiments/compare.py`, called with arguments."""
    path = Path(__file__).resolve().parents[2] / "experiments" / "compare.py"
    spec = importlib.util.spec_from_file_location("compare", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*arguments) -> int:
        monkeypatch.setattr("sys.argv", ["compare.py", *map(str, arguments)])
        return module.main()

    return run


def test_the_script_writes_what_it_shows(compare_script, folders, tmp_path, capsys):
    output = tmp_path / "compared"
    assert compare_script(*folders, "--output", output, "--resamples", "200") == 0
    statistics = json.loads((output / "statistics.json").read_text())
    assert statistics["about"]["resamples"] == 200
    assert [Path(name).name for name in statistics["about"]["evaluations"]] == ["seed0", "seed1"]
    shown, written = capsys.readouterr().out, (output / "statistics.md").read_text()
    for own in comparison_table.main_differences(statistics):
        assert comparison_table.points(own["top1"]) in written
        assert comparison_table.points(own["top1"]) in shown
    for line in comparison_table.gap_lines(statistics) + comparison_table.headroom_lines(statistics):
        assert line in shown
        assert line in written
    assert (output / "classes.png").read_bytes()[:4] == b"\x89PNG"


def test_the_script_refuses_in_one_line(compare_script, folders, capsys):
    for arguments, message in (
        ([folders[0], folders[0]], "of the same networks"),
        ([folders[0].parent], "holds no results.json"),
        ([folders[0], "--resamples", "5"], "--resamples 5"),
        ([folders[0], "--beside", "control"], "--beside control: must be NAME=DIR"),
        ([folders[0], "--beside", f"control={folders[0]},{folders[1]}"], "one evaluation for each of the 1 seeds"),
    ):
        with pytest.raises(SystemExit) as stopped:
            compare_script(*arguments)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
