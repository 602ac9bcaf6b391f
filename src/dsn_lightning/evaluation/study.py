"""Confidence intervals of methods and of differences between them: paired bootstrap over the videos.

All methods and all seeds are evaluated on the same resamples of the test videos, so that a video's difficulty cancels
in a difference. Intervals are percentile intervals (Efron and Tibshirani: An Introduction to the Bootstrap, 1993,
ch. 13). On 4 x 400 simulated test sets of 200 to 400 videos, they were compared with bias-corrected and accelerated
intervals (ch. 14). For accuracies both contained the true value equally often (94.5 to 96.5% of the time); for mean
average precision the percentile interval contained it more often (92.5 to 94%, against 88.5 to 92.5%). An interval
describes other videos, not other trainings; the spread over seeds describes those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest

from dsn_lightning.evaluation import resampling
from dsn_lightning.evaluation.outcomes import WITHOUT_ROWS, Method, Outcome, StoredEvaluation, align
from dsn_lightning.evaluation.resampling import Counts, original_sample, resamples
from dsn_lightning.metrics import top_k_hits
from dsn_lightning.selections import Kind

RATES = ("top1", "mean_class", "map", "hit_rate")
"""The figures with intervals; all are fractions in [0, 1]."""

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class IntervalEstimate:
    """A figure, or a difference of two: its mean over the seeds with the interval, and the value of each seed."""

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None with one seed."""
        return float(np.std(self.seeds, ddof=1)) if len(self.seeds) > 1 else None

    def as_json(self) -> dict[str, Any]:
        """Return ``value, low, high, seeds, spread``."""
        return {**vars(self), "seeds": list(self.seeds), "spread": self.spread}

    def points(self) -> str:
        """Return the estimate in percentage points, as text.

        >>> IntervalEstimate(0.24, 0.19, 0.29, (0.24,)).points()
        '+24.0 [+19.0, +29.0]'
        """
        return f"{100 * self.value:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


@dataclass(frozen=True)
class ResampledFigure:
    """A figure of S seeds on the original videos and on R resamples of them."""

    observed: Floats  #: (S,), on the original videos
    resampled: Floats  #: (S, R); NaN in a resample that has no videos for the figure

    def __sub__(self, other: "ResampledFigure") -> "ResampledFigure":
        return ResampledFigure(self.observed - other.observed, self.resampled - other.resampled)


class Study:
    """One or several evaluations (seeds) of the same videos, resampled together.

    Args:
        evaluations: one per seed; see `align` for what they must have in common.
        number: R, number of resamples.
        seed: seed of the resampling.
        level: confidence level, in (0, 1).
        resample_seeds: draw the seeds with replacement as well, so that intervals describe other trainings too. With
            few seeds these intervals are too narrow: of three seeds, one resample in nine contains a single one.

    Raises:
        UsageError: the evaluations cannot be compared.
    """

    def __init__(
        self,
        evaluations: Sequence[StoredEvaluation],
        *,
        number: int = 2000,
        seed: int = 0,
        level: float = 0.95,
        resample_seeds: bool = False,
    ) -> None:
        self.evaluations = align(evaluations)
        self.level = level
        self.number = number
        self.seed = seed
        self.targets = self.evaluations[0].targets
        self.classes = self.evaluations[0].classes
        self.kinds: dict[Method, Kind] = {  # only methods that have a row in the results
            method: outcome.kind
            for method, outcome in self.evaluations[0].outcomes.items()
            if method.selection not in WITHOUT_ROWS
        }
        self.resample_seeds = resample_seeds
        self._counts = resamples(self.num_videos, number=number, seed=seed)
        seeds = len(self.evaluations)
        self._shares = np.full((seeds, number), 1 / seeds)  # weight of each seed in each resample
        if resample_seeds:
            drawn = np.random.default_rng([seed, 1]).multinomial(seeds, [1 / seeds] * seeds, size=number)
            self._shares = drawn.T / seeds
        self._cache: dict[Method, dict[str, ResampledFigure]] = {}

    @property
    def num_videos(self) -> int:
        """V."""
        return len(self.targets)

    @property
    def methods(self) -> list[Method]:
        """The methods that have a row in the results."""
        return list(self.kinds)

    def has(self, method: Method) -> bool:
        """Return whether every evaluation has the method."""
        return method in self.evaluations[0].outcomes

    def outcomes(self, method: Method) -> list[Outcome]:
        """Return the outcomes of a method, one per seed."""
        return [evaluation.outcomes[method] for evaluation in self.evaluations]

    def sampled(self, method: Method, figure: str) -> ResampledFigure | None:
        """Return one of `RATES` on all resamples, computed once; None if it does not apply."""
        if method not in self._cache:
            outcomes = self.outcomes(method)
            once = original_sample(self.num_videos)
            observed = [figures_of(outcome, self.targets, once) for outcome in outcomes]
            resampled = [figures_of(outcome, self.targets, self._counts) for outcome in outcomes]
            self._cache[method] = {
                name: ResampledFigure(np.hstack([f[name] for f in observed]), np.stack([f[name] for f in resampled]))
                for name in observed[0]
                if all(name in figures for figures in observed)
            }
        return self._cache[method].get(figure)

    def figure(self, method: Method, figure: str) -> IntervalEstimate | None:
        """Return one of `RATES` of a method; None if it does not apply."""
        sampled = self.sampled(method, figure)
        return None if sampled is None else self.estimate(sampled)

    def difference(self, method: Method, other: Method, figure: str) -> IntervalEstimate | None:
        """Return ``method`` minus ``other`` on the same videos and seeds; None if it does not apply."""
        first, second = self.sampled(method, figure), self.sampled(other, figure)
        return None if first is None or second is None else self.estimate(first - second)

    def estimate(self, sampled: ResampledFigure) -> IntervalEstimate:
        """Return the mean over the seeds with its interval."""
        return self.interval(sampled.observed, self.mean_of_seeds(sampled))

    def mean_of_seeds(self, sampled: ResampledFigure) -> Floats:
        """Return the mean over the seeds of each resample, (R,)."""
        return np.asarray((sampled.resampled * self._shares).sum(0))

    def interval(self, observed: Floats, resampled: Floats) -> IntervalEstimate:
        """Return the estimate from its value in each seed, (S,), and in each resample, (R,); NaN is ignored."""
        ends = [(1 - self.level) / 2, (1 + self.level) / 2]
        low, high = np.quantile(resampled[~np.isnan(resampled)], ends)
        return IntervalEstimate(float(observed.mean()), float(low), float(high), tuple(observed.tolist()))

    def mcnemar(self, method: Method, other: Method) -> list[float | None]:
        """Return the p-value of the exact McNemar test for equal top-1 accuracy, one per seed.

        None if a method is random, because its draws are correct on different videos.
        """
        labelled = (self.targets > 0).any(1)
        values: list[float | None] = []
        for evaluation in self.evaluations:
            pair = evaluation.outcomes[method], evaluation.outcomes[other]
            if any(len(outcome.probabilities) > 1 for outcome in pair):
                values.append(None)
                continue
            first, second = (correct_share(outcome, self.targets)[labelled] > 0 for outcome in pair)
            only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
            discordant = only_first + only_second
            values.append(float(binomtest(only_first, discordant).pvalue) if discordant else 1.0)
        return values


def correct_share(outcome: Outcome, targets: Floats) -> Floats:
    """Return, for each video, the share of draws, (V,), whose top-1 is one of its labels."""
    labels = torch.from_numpy(targets)
    hits = [top_k_hits(torch.from_numpy(draw), labels, 1).numpy() for draw in outcome.probabilities]
    return np.asarray(np.mean(hits, 0, dtype=np.float64))


def figures_of(outcome: Outcome, targets: Floats, counts: Counts) -> dict[str, Floats]:
    """Return those of `RATES` that apply, each (R,), on R resamples; for a random method the mean over its draws."""
    labelled = np.asarray((targets > 0).any(1))
    figures: dict[str, Floats] = {}
    if labelled.any():
        correct = correct_share(outcome, targets)
        figures["top1"] = resampling.ratio(correct * labelled, labelled, counts)
        figures["mean_class"] = resampling.mean_over_classes(resampling.class_means(correct, targets, counts))
        precisions = (resampling.average_precisions(draw, targets, counts) for draw in outcome.probabilities)
        means = [resampling.mean_over_classes(precision) for precision in precisions]
        figures["map"] = np.asarray(np.mean(means, 0))  # over the draws: (D, R) -> (R,)
    if outcome.hits is not None and outcome.possible_hits is not None and outcome.possible_hits.any():
        figures["hit_rate"] = resampling.ratio(outcome.hits, outcome.possible_hits, counts)
    return figures
