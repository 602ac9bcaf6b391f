"""What selection can gain at all, and how much of it a method gains: the gap between uniform and oracle clips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dsn_lightning.evaluation.outcomes import Method
from dsn_lightning.evaluation.statistics import Estimate, Study
from dsn_lightning.selection.surest import Surest

SMALLEST_GAP = 0.01
"""A gap below one point is not divided by: the share would be noise."""

GAINS = ("oracle", "oracle_video", "dense", Surest.name)
"""What is held against uniform clips of the same classifier in a headroom check."""

_NAMES = {"top1": "top-1", "mean_class": "mean class accuracy", "map": "mAP"}


@dataclass(frozen=True)
class Share:
    """Which part of a gap a method closes.

    Attributes:
        share: of the gap; 1 is all of it, below 0 is a loss. None where the gap is too small to divide by.
        gap: between the two ends.
        reason: why there is no share; None where there is.
    """

    share: Estimate | None
    gap: Estimate
    reason: str | None

    def as_json(self) -> dict[str, Any]:
        """Return ``share, gap, reason``."""
        return {
            "share": self.share and self.share.as_json(), "gap": self.gap.as_json(), "reason": self.reason,
        }  # fmt: skip


def gap_share(study: Study, method: Method, low: Method, high: Method, figure: str) -> Share | None:
    """Return (method - low) / (high - low), numerator and denominator averaged over the seeds; with an interval.

    With uniform and oracle clips of the same classifier as ends, it is the part of what selection can gain that the
    method gains. None where the figure does not apply.
    """
    own, start, end = (study.sampled(which, figure) for which in (method, low, high))
    if own is None or start is None or end is None:
        return None
    above, whole = own - start, end - start
    gap = study.estimate(whole)
    assert gap is not None
    if gap.low <= 0 or gap.value < SMALLEST_GAP:
        reason = f"the gap between {low.selection} and {high.selection}, {gap.points()} points, is too small to divide by"
        return Share(None, gap, reason)
    resampled = study.mean_of_seeds(above) / study.mean_of_seeds(whole)
    known = whole.observed > 0
    seeds = np.divide(above.observed, whole.observed, out=np.full_like(whole.observed, np.nan), where=known)
    share = study.interval(seeds, resampled)
    return Share(replace(share, value=float(above.observed.mean() / whole.observed.mean())), gap, None)


def gap_shares(study: Study) -> list[dict[str, Any]]:
    """Return the share of the gap that each method with a sampler closes, in top-1 and mAP.

    ``ends`` is ``same classifier`` (uniform and oracle clips of the classifier that answers) or ``mixed`` (those of the
    baseline's, while the method answers with its own), which is how the paper's tables can be read.
    """
    found = []
    for method in study.methods:
        if study.outcomes(method)[0].sampler is None:
            continue
        for ends in dict.fromkeys((method.classifier, "baseline")):
            low, high = (replace(method, selection=name, classifier=ends) for name in ("uniform", "oracle"))
            if not (study.has(low) and study.has(high)):
                continue
            for figure in ("top1", "map"):
                share = gap_share(study, method, low, high, figure)
                if share is not None:
                    kind = "same classifier" if ends == method.classifier else "mixed"
                    found.append({**vars(method), "figure": figure, "ends": kind, **share.as_json()})
    return found


def mixed_share(*, uniform: float, method: float, oracle: float) -> float:
    """Return a method's share of the gap from three figures of a table, whatever classifier gave each.

    The paper's Table I, ActivityNet v1.3 and THUMOS14:

    >>> round(mixed_share(uniform=0.626, method=0.667, oracle=0.886), 2)
    0.16
    >>> round(mixed_share(uniform=0.623, method=0.726, oracle=0.731), 2)
    0.95
    """
    return (method - uniform) / (oracle - uniform)


def headroom(study: Study, *, classifier: str = "baseline") -> list[dict[str, Any]]:
    """Return what choosing clips could gain over uniform ones at each M:N, with one classifier and no sampler.

    Each entry has ``M, N, classifier``, ``figures``: top1, mean_class, map -> ``uniform`` and the gains over it of
    `GAINS` (those that were evaluated), and a ``verdict`` in words. Empty where uniform or oracle clips were not.
    """
    found = []
    for uniform in study.methods:
        oracle = replace(uniform, selection="oracle")
        if (uniform.selection, uniform.classifier) != ("uniform", classifier) or not study.has(oracle):
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


def _verdict(study: Study, uniform: Method, figures: dict[str, dict[str, Estimate]]) -> str:
    """Say what the figures mean for someone who has not trained a sampler yet."""
    scheme = f"{uniform.M}:{uniform.N}"
    best = " and ".join(f"{own['oracle'].points()} points of {_NAMES[f]}" for f, own in _told(figures))
    bound = f"at {scheme} a perfect choice of clips would gain {best}"
    if not any(own["oracle"].low > 0 for own in figures.values()):
        return (
            f"{bound}, which {study.num_videos} videos do not tell from nothing: with this classifier no sampler can help "
            "here"
        )
    without = " and ".join(f"{own[Surest.name].points()} of {_NAMES[f]}" for f, own in _told(figures))
    if any(own[Surest.name].low > 0 for _, own in _told(figures)):
        found = f"the clips that the classifier is surest of, chosen without the label, gain {without}: there is something to learn"
    else:
        found = (
            f"but the clips that the classifier is surest of, chosen without the label, gain {without}: what the perfect "
            "choice gains may be luck that no sampler can learn"
        )
    return f"{bound}; {found}"


def _told(figures: dict[str, dict[str, Estimate]]) -> Sequence[tuple[str, dict[str, Estimate]]]:
    return [(figure, own) for figure, own in figures.items() if figure in ("top1", "map")]
