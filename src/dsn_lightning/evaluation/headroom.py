"""What selection can gain at all, and how much of it a method gains: the gap between uniform and oracle clips."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dsn_lightning.evaluation.outcomes import Method
from dsn_lightning.evaluation.results import is_fused
from dsn_lightning.evaluation.study import IntervalEstimate, Study
from dsn_lightning.paper import paper_table
from dsn_lightning.selections.most_confident import MostConfident

SMALLEST_GAP = 0.01
"""A gap below one point is not divided by: the share would be noise."""

GAINS = ("oracle", "oracle_video", "dense", MostConfident.name)
"""What is held against uniform clips of the same classifier in a headroom check."""

_TOLD = {"top1": "top-1", "map": "mAP"}
"""Figures in the verdict, and what people call them."""


@dataclass(frozen=True)
class Share:
    """Which part of a gap a method closes.

    Attributes:
        share: of the gap; 1 is all of it, below 0 is a loss. None where the gap is too small to divide by.
        gap: between the two ends.
        low: the figure at the lower end; a share of a gap that begins low may still leave little.
        high: at the upper end.
        reason: why there is no share; None where there is.
    """

    share: IntervalEstimate | None
    gap: IntervalEstimate
    low: IntervalEstimate
    high: IntervalEstimate
    reason: str | None

    def as_json(self) -> dict[str, Any]:
        """Return ``share, gap, low, high, reason``."""
        estimates = {"gap": self.gap, "low": self.low, "high": self.high}
        return {
            "share": self.share and self.share.as_json(),
            **{name: estimate.as_json() for name, estimate in estimates.items()},
            "reason": self.reason,
        }


def gap_share(study: Study, method: Method, low: Method, high: Method, figure: str) -> Share | None:
    """Return (method - low) / (high - low), numerator and denominator averaged over the seeds; with an interval.

    With uniform and oracle clips of the same classifier as ends, it is the part of what selection can gain that the
    method gains. None where the figure does not apply.
    """
    own, start, end = (study.sampled(which, figure) for which in (method, low, high))
    if own is None or start is None or end is None:
        return None
    above, whole = own - start, end - start
    gap, at_low, at_high = (study.estimate(sampled) for sampled in (whole, start, end))
    if gap.low <= 0 or gap.value < SMALLEST_GAP:
        between = f"{low.selection} and {high.selection}"
        return Share(
            None, gap, at_low, at_high, f"the gap between {between}, {gap.points()} points, is too small to divide by"
        )
    gains, gaps = study.mean_of_seeds(above), study.mean_of_seeds(whole)
    resampled = np.divide(
        gains, gaps, out=np.full_like(gaps, np.nan), where=gaps != 0
    )  # of few videos a resample has none
    known = whole.observed > 0
    seeds = np.divide(above.observed, whole.observed, out=np.full_like(whole.observed, np.nan), where=known)
    share = study.interval(seeds, resampled)
    return Share(replace(share, value=float(above.observed.mean() / whole.observed.mean())), gap, at_low, at_high, None)


def gap_shares(study: Study, method: Method) -> list[dict[str, Any]]:
    """Return the shares of the uniform-to-oracle gap that a method closes, in top-1 and mAP; none of fused streams.

    Each entry has the method's ``selection, classifier, M, N``, the ``figure``, what `Share` holds, and

    - ``ends``: ``same classifier`` (uniform and oracle clips of the classifier that answers) or ``mixed`` (those of the
      baseline's, while the method answers with its own), the only share that the paper's Table I allows;
    - ``paper``: the mixed share in Table I, where it has DSN on this data set in this figure; else None.
    """
    found: list[dict[str, Any]] = []
    row = study.outcomes(method)[0].row
    if is_fused(row):
        return found
    dataset = row.get("dataset")
    for ends in dict.fromkeys((method.classifier, "baseline")):
        low, high = (replace(method, selection=name, classifier=ends) for name in ("uniform", "oracle"))
        if not (study.has(low) and study.has(high)):
            continue
        for figure in ("top1", "map"):
            share = gap_share(study, method, low, high, figure)
            if share is not None:
                kind = "same classifier" if ends == method.classifier else "mixed"
                paper = paper_share(f"{dataset}/{figure}") if method.selection == "dsn" else None
                found.append({**vars(method), "figure": figure, "ends": kind, **share.as_json(), "paper": paper})
    return found


def mixed_share(*, uniform: float, method: float, oracle: float) -> float:
    """Return a method's share of the gap from three figures of a table, whatever classifier gave each.

    >>> mixed_share(uniform=0.5, method=0.75, oracle=1.0)
    0.5
    """
    return (method - uniform) / (oracle - uniform)


def paper_share(column: str) -> float | None:
    """Return DSN's mixed share in the paper's Table I; None where it has no such column.

    >>> round(paper_share("activitynet/top1"), 2), round(paper_share("thumos14/map"), 2)
    (0.16, 0.95)
    """
    table = paper_table(1)
    rows = {"uniform": "Baseline (uniform)", "method": "DSN", "oracle": "Oracle sampling"}
    if any(column not in table[row] for row in rows.values()):
        return None
    return mixed_share(**{name: table[row][column] for name, row in rows.items()})


def headroom(study: Study, *, classifier: str = "baseline") -> list[dict[str, Any]]:
    """Return what choosing clips could gain over uniform ones at each M:N, with one classifier and no sampler.

    Each entry has ``M, N, classifier``, ``figures``: top1, mean_class, map -> ``uniform`` and the gains over it of
    `GAINS` (those that were evaluated), and a ``verdict`` in words. Empty where uniform or oracle clips were not, and
    for fused streams.
    """
    found = []
    for uniform in study.methods:
        oracle = replace(uniform, selection="oracle")
        of_another = (uniform.selection, uniform.classifier) != ("uniform", classifier)
        if of_another or not study.has(oracle) or is_fused(study.outcomes(uniform)[0].row):
            continue
        others = [replace(uniform, selection=name) for name in GAINS]
        figures = {}
        for figure in ("top1", "mean_class", "map"):
            own = study.figure(uniform, figure)
            if own is not None:
                gains = {m.selection: study.difference(m, uniform, figure) for m in others if study.has(m)}
                figures[figure] = {"uniform": own, **{name: gain for name, gain in gains.items() if gain is not None}}
        if figures:
            found.append(
                {
                    "M": uniform.M, "N": uniform.N, "classifier": classifier,
                    "figures": {f: {k: e.as_json() for k, e in own.items()} for f, own in figures.items()},
                    "verdict": _verdict(study, uniform, figures),
                }
            )  # fmt: skip
    return found


def _verdict(study: Study, uniform: Method, figures: dict[str, dict[str, IntervalEstimate]]) -> str:
    """Say what the figures mean for someone who has not trained a sampler yet."""
    told = {figure: own for figure, own in figures.items() if figure in _TOLD}

    def gains(name: str) -> str:
        return " and ".join(f"{own[name].points()} points of {_TOLD[figure]}" for figure, own in told.items())

    bound = f"at {uniform.M}:{uniform.N} a perfect choice of clips would gain {gains('oracle')} over uniform ones"
    if not any(own["oracle"].low > 0 for own in told.values()):
        return (
            f"{bound}: {study.num_videos} videos do not tell that from nothing, so no sampler can help this classifier"
        )
    without = f"the clips of which the classifier is surest, chosen without the label, gain {gains(MostConfident.name)}"
    above = [own[MostConfident.name].low > 0 for own in told.values()]
    if all(above):
        return f"{bound}; {without}: there is something to learn"
    if any(above):
        return f"{bound}; {without}: there may be something to learn"
    return f"{bound}; but {without}: what the perfect choice gains may be luck, which no sampler can learn"
