"""What choosing clips can gain, and the share of it that a method gains: the gap between uniform and oracle clips.

The bound of top-1 is exact (`ExactOracle`); that of mAP is the greedy oracle of the paper's Table I, since the best
choice of clips for a ranking of all videos is not known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dsn_lightning.evaluation.exact_oracle import ExactOracle
from dsn_lightning.evaluation.outcomes import Method
from dsn_lightning.evaluation.row_check import is_fused
from dsn_lightning.evaluation.splits import HEADINGS, kind_of_videos
from dsn_lightning.evaluation.study import IntervalEstimate, Study
from dsn_lightning.paper import paper_table
from dsn_lightning.selections import (
    BASELINE_CLASSIFIER,
    DSN_SAMPLER,
    Dense,
    MostConfident,
    Oracle,
    OracleVideo,
    Uniform,
)

SMALLEST_GAP = 0.01
"""No share is computed of a gap below one percentage point: it would be noise."""

GAINS = (ExactOracle.name, Oracle.name, OracleVideo.name, Dense.name, MostConfident.name)
"""The selection methods that a headroom analysis compares with uniform clips of the same classifier."""

BOUNDS = {"top1": ExactOracle.name, "map": Oracle.name}
"""Upper bound of each figure that a verdict is about; that of mAP is greedy."""


@dataclass(frozen=True)
class Share:
    """The part of a gap that a method closes."""

    #: share of the gap that is closed: 1 is all of it, below 0 is a loss, None if the gap is too small to divide by.
    share: IntervalEstimate | None
    gap: IntervalEstimate  #: between the two ends
    low: IntervalEstimate  #: the figure at the lower end; it shows how much room a gap leaves
    high: IntervalEstimate  #: the figure at the upper end
    reason: str | None  #: why there is no share; None if there is one

    def as_json(self) -> dict[str, Any]:
        """Return ``share, gap, low, high, reason``."""
        return {name: v.as_json() if isinstance(v, IntervalEstimate) else v for name, v in vars(self).items()}


def gap_share(study: Study, method: Method, low: Method, high: Method, figure: str) -> Share | None:
    """Return (method - low) / (high - low) with its interval; numerator and denominator are averaged over the seeds.

    With uniform clips and a bound of the same classifier as ends, it is the part of what selection can gain that the
    method gains. None if the figure does not apply.
    """
    sampled, start, end = (study.sampled(which, figure) for which in (method, low, high))
    if sampled is None or start is None or end is None:
        return None
    gain, whole = sampled - start, end - start
    gap, at_low, at_high = (study.estimate(difference) for difference in (whole, start, end))
    if gap.low <= 0 or gap.value < SMALLEST_GAP:
        between = f"{low.selection} and {high.selection}"
        reason = f"the gap between {between}, {gap.points()} points, is too small to divide by"
        return Share(None, gap, at_low, at_high, reason)
    gains, gaps = study.mean_of_seeds(gain), study.mean_of_seeds(whole)
    resampled = np.divide(gains, gaps, out=np.full_like(gaps, np.nan), where=gaps != 0)  # a resample may have no gap
    seeds = np.divide(gain.observed, whole.observed, out=np.full_like(whole.observed, np.nan), where=whole.observed > 0)
    share = study.interval(seeds, resampled)
    return Share(replace(share, value=float(gain.observed.mean() / whole.observed.mean())), gap, at_low, at_high, None)


def gap_shares(study: Study, method: Method) -> list[dict[str, Any]]:
    """Return the shares of the gap to the bound that a method closes, in top-1 and mAP; empty for fused streams.

    Each entry has the method's ``selection, classifier, M, N``, the ``figure``, the fields of `Share`, and

    - ``ends``: ``same classifier`` (uniform clips and the bound with the method's classifier) or ``mixed`` (those of
      the baseline's classifier, while the method has another one), the only share that the paper's Table I allows;
    - ``bound``: the selection method at the upper end: that of `BOUNDS`, but the greedy oracle where the share is
      mixed, as in Table I;
    - ``paper``: the mixed share of DSN in Table I, if it has one for this data set and figure; else None.
    """
    shares: list[dict[str, Any]] = []
    row = study.outcomes(method)[0].row
    if is_fused(row):
        return shares
    for ends in dict.fromkeys((method.classifier, BASELINE_CLASSIFIER)):
        kind = "same classifier" if ends == method.classifier else "mixed"
        for figure, exact in BOUNDS.items():
            bound = Oracle.name if kind == "mixed" else exact
            low, high = (replace(method, selection=name, classifier=ends) for name in (Uniform.name, bound))
            if not (study.has(low) and study.has(high)):
                continue
            share = gap_share(study, method, low, high, figure)
            if share is not None:
                paper = paper_share(f"{row.get('dataset')}/{figure}") if method.selection == DSN_SAMPLER else None
                about = {"figure": figure, "ends": kind, "bound": bound}
                shares.append({**vars(method), **about, **share.as_json(), "paper": paper})
    return shares


def paper_share(column: str) -> float | None:
    """Return DSN's mixed share in the paper's Table I; None if the table has no such column.

    >>> round(paper_share("activitynet/top1"), 2), round(paper_share("thumos14/map"), 2)
    (0.16, 0.95)
    """
    table = paper_table(1)
    low, dsn, high = (table[row].get(column) for row in ("Baseline (uniform)", "DSN", "Oracle sampling"))
    return None if low is None or dsn is None or high is None else (dsn - low) / (high - low)


def headroom(study: Study, *, classifier: str = BASELINE_CLASSIFIER) -> list[dict[str, Any]]:
    """Return what choosing clips could gain over uniform ones at each M:N, with one classifier and no sampler.

    Each entry has ``M, N, classifier``, ``bounds`` (see `BOUNDS`), ``figures``: top1, mean_class, map -> the rate of
    uniform clips and the gains over it of `GAINS` (those that were evaluated; the exact oracle has no mAP), and a
    ``verdict`` in words. Empty without uniform or oracle clips, and for fused streams.
    """
    entries = []
    for uniform in study.methods:
        is_other = (uniform.selection, uniform.classifier) != (Uniform.name, classifier)
        has_oracle = study.has(replace(uniform, selection=Oracle.name))
        if is_other or not has_oracle or is_fused(study.outcomes(uniform)[0].row):
            continue
        if figures := _figures(study, uniform):
            entry: dict[str, Any] = {"M": uniform.M, "N": uniform.N, "classifier": classifier, "bounds": BOUNDS}
            entry["figures"] = {f: {name: e.as_json() for name, e in gains.items()} for f, gains in figures.items()}
            entries.append(entry | {"verdict": _verdict(study, uniform, figures)})
    return entries


def _figures(study: Study, uniform: Method) -> dict[str, dict[str, IntervalEstimate]]:
    """Return figure -> the rate of uniform clips and the gains of other methods over it."""
    others = [replace(uniform, selection=name) for name in GAINS]
    figures = {}
    for figure in ("top1", "mean_class", "map"):
        rate = study.figure(uniform, figure)
        if rate is not None:
            known = [m for m in others if study.has(m) and not (m.selection == ExactOracle.name and figure == "map")]
            gains = {m.selection: study.difference(m, uniform, figure) for m in known}
            figures[figure] = {Uniform.name: rate, **{name: gain for name, gain in gains.items() if gain is not None}}
    return figures


def _verdict(study: Study, uniform: Method, figures: Mapping[str, Mapping[str, IntervalEstimate]]) -> str:
    """Return what the figures mean for someone who has not trained a sampler yet; the conclusion comes first."""
    rates = {figure: gains for figure, gains in figures.items() if figure in BOUNDS and BOUNDS[figure] in gains}

    def gain(names: Mapping[str, str]) -> str:
        return " and ".join(f"{gains[names[f]].points()} points of {HEADINGS[f]}" for f, gains in rates.items())

    scheme, videos = f"{uniform.M}:{uniform.N}", kind_of_videos(study.outcomes(uniform)[0].row.get("dataset"))
    best = f"the best choice of clips gains {gain(BOUNDS)} over uniform clips on {study.num_videos} {videos}"
    if "map" in rates:
        best += " (mAP: greedy choice)"
    certain = [figure for figure, gains in rates.items() if _is_certain(gains[BOUNDS[figure]])]
    if not certain:
        if "top1" in rates and _excludes_gain(rates["top1"][BOUNDS["top1"]], study.num_videos):
            return f"no sampler can raise the top-1 of this classifier at {scheme}: {best}"
        return f"too few videos to tell what choosing clips can gain at {scheme}: {best}"
    confident = dict.fromkeys(BOUNDS, MostConfident.name)
    chosen = f"the most confident clips, chosen without the label, gain {gain(confident)}"
    significant = [gains[MostConfident.name].low > 0 for gains in rates.values()]
    if any(significant):
        ability = "can" if all(significant) else "may be able to"
        return f"a sampler {ability} learn to choose better clips at {scheme}: {best}; {chosen}"
    return (
        f"better clips exist at {scheme}, but nothing shows that a sampler can find them: {best}; {chosen}. "
        "The best choice may be correct by chance"
    )


def _is_certain(gain: IntervalEstimate) -> bool:
    """Whether the interval is above 0 and not wider than the gain."""
    return gain.low > 0 and gain.high - gain.low <= gain.value


def _excludes_gain(gain: IntervalEstimate, num_videos: int) -> bool:
    """Whether a gain of `SMALLEST_GAP` is excluded.

    Where no video gains, every resample has a gain of 0, but 3 of ``num_videos`` is still a possible rate (rule of
    three).
    """
    return max(gain.high, 3 / num_videos) <= SMALLEST_GAP
