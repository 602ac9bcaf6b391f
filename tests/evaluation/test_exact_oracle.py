"""The exact upper bound: by hand, against enumeration, and above every other method."""

import itertools
import time

import numpy as np
import pytest
import torch

from dsn_lightning.consensus import consensus_log_probabilities
from dsn_lightning.evaluation.exact_oracle import ExactOracle, correct_choice
from dsn_lightning.evaluation.results import select_and_classify
from dsn_lightning.evaluation.scores import ClipScores
from dsn_lightning.metrics import top_k_accuracy, top_k_hits
from dsn_lightning.selections import MaxResponse, Oracle, Policy, Random, Scheme, Uniform, VideoScores
from helpers.clip_scores import columns, log

FIRST = np.array([True, False, False])


def one_choice(clips: list[list[np.ndarray]], positive: np.ndarray = FIRST, consensus: str = "probabilities"):
    logits = np.array(clips, np.float32)
    return correct_choice(logits, positive, np.zeros((1, len(clips)), int), consensus=consensus)


def test_a_lower_score_of_the_label_may_be_the_better_choice():
    """True class 0. Greedy takes 0.40 and 0.45, whose means are 0.425, 0.525, 0.05: wrong. 0.40 and 0.40 is right."""
    first = [log(0.40, 0.55, 0.05), log(0.38, 0.60, 0.02)]
    second = [log(0.45, 0.50, 0.05), log(0.40, 0.10, 0.50)]
    assert one_choice([first, second]).tolist() == [0, 1]  # 0.40, 0.325, 0.275
    assert one_choice([first, second[:1] * 2]) is None
    assert one_choice([first, second], positive=np.array([False, False, True])) is None  # 0.275 at most
    assert one_choice([first, second], positive=np.array([True, False, True])).tolist() == [0, 1]  # any label will do
    assert one_choice([first, second], positive=np.zeros(3, bool)) is None  # background
    assert one_choice([first, second], positive=np.ones(3, bool)) is not None


def test_the_consensus_decides():
    """The logits of class 0 sum to 0.5 > 0; its probabilities to 0.993 + 0.018 + 0.378 < 1.5."""
    clips = [[np.array([5.0, 0.0])], [np.array([-4.0, 0.0])], [np.array([-0.5, 0.0])]]
    assert one_choice(clips, np.array([True, False]), "logits") is not None
    assert one_choice(clips, np.array([True, False]), "probabilities") is None


def test_a_tie_counts_as_the_metric_counts_it():
    tied = [[log(0.5, 0.5)], [log(0.5, 0.5)]]
    assert one_choice(tied, np.array([True, False])) is not None  # the first of equal classes is the prediction
    assert one_choice(tied, np.array([False, True])) is None


@pytest.fixture(scope="module", params=["probabilities", "logits"])
def consensus(request) -> str:
    return request.param


def random_file(rng: np.random.Generator) -> tuple[ClipScores, Scheme]:
    """Scores of a few videos with random M, N, J and difficulty; a third of the files have rounded scores with ties."""
    m, n, classes = int(rng.integers(1, 5)), int(rng.integers(1, 5)), int(rng.integers(2, 9))
    scheme = Scheme(m, n, clip_span=10, dense_clips=4, random_draws=3, seed=int(rng.integers(100)))
    spread, rounded = rng.choice([0.3, 1.0, 4.0]), rng.random() < 1 / 3
    methods, videos = [Random(), Uniform(), Oracle()], []
    for v in range(4):
        frames = int(rng.integers(20, 300))
        target = np.zeros(classes, np.float32)
        target[rng.choice(classes, size=int(rng.choice([1, 1, 1, 2, 0])) if classes > 2 else 1, replace=False)] = 1
        starts = {int(s) for method in methods for s in method.candidates(f"v{v}", frames, scheme)}
        base = rng.normal(size=classes) - rng.choice([0, 1, 2]) * target

        def logits(starts=starts, base=base) -> dict[int, np.ndarray]:
            drawn = {start: spread * (base + rng.normal(size=classes)) for start in sorted(starts)}
            return {s: (x.round() if rounded else x).astype(np.float32) for s, x in drawn.items()}

        policy = {"dsn": {(m, n): rng.normal(size=(m, n)).astype(np.float32)}}
        videos.append(VideoScores(f"v{v}", frames, target, {"baseline": logits(), "max_response": logits()}, policy))
    return columns(videos, classes=[f"class {j}" for j in range(classes)]), scheme


def top1(scores: ClipScores, selection, scheme: Scheme, consensus: str) -> float | None:
    draws = select_and_classify(scores.videos(), selection, scheme, "baseline", consensus=consensus)[1]
    rates = [top_k_accuracy(draw, torch.from_numpy(scores.targets), k=1) for draw in draws]
    return None if None in rates else float(np.mean(rates))


def some_choice_is_correct(scores: ClipScores, scheme: Scheme, consensus: str) -> list[bool]:
    """Try every choice of one clip per section of each labelled video with the metric of the results."""
    found = []
    for video in scores.videos():
        uniform = Uniform().candidates(video.video_id, video.num_frames, scheme)
        starts = np.column_stack([scheme.grid(video.num_frames), uniform])  # of each section
        logits = torch.from_numpy(video.logits_at("baseline", starts))
        kept = torch.stack([torch.stack(clips) for clips in itertools.product(*logits)])  # (choices, M, J)
        probabilities = consensus_log_probabilities(kept, consensus=consensus).exp()
        targets = torch.from_numpy(video.targets).expand(len(kept), -1)
        if video.targets.any():
            found.append(bool(top_k_hits(probabilities, targets, 1).any()))
    return found


def test_1000_random_files_equal_enumeration_and_no_method_is_above(consensus):
    rng = np.random.default_rng(0)
    others = (Uniform(), Oracle(), Policy("dsn", ("baseline",)), MaxResponse())
    exact, random, better_than_greedy = [], [], 0
    for _ in range(500):  # for each consensus
        scores, scheme = random_file(rng)
        bound = top1(scores, ExactOracle(consensus), scheme, consensus)
        every_choice = some_choice_is_correct(scores, scheme, consensus)
        if not every_choice:
            assert bound is None
            continue
        assert bound == np.mean(every_choice)
        for method in others:
            rate = top1(scores, method, scheme, consensus)
            assert rate <= bound, method.name
            better_than_greedy += method.name == Oracle.name and rate < bound
        exact.append(bound)
        random.append(top1(scores, Random(), scheme, consensus))
    assert better_than_greedy > 10
    assert np.mean(random) < np.mean(exact)  # its draws may keep two clips of a section, so only on average


def test_ten_sections_of_ten_clips_take_little_time():
    """From hopeless to easy; in between nearly every choice of 10^10 comes close."""
    rng = np.random.default_rng(0)
    found, started = [], time.process_time()
    for difficulty in np.linspace(0, 3, 150):
        logits = 2 * (rng.normal(size=(10, 10, 101)) + 0.5 * rng.normal(size=101))
        logits[..., 1:5] += difficulty
        choice = one_choice(logits.astype(np.float32), np.arange(101) == 0)
        found.append(choice is not None)
    assert 20 < sum(found) < 130
    assert time.process_time() - started < 20
