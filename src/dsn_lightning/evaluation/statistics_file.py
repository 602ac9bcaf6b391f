"""Comparisons of finished evaluations as plain data (``statistics.json``).

``statistics.json`` holds one object. Figures are fractions; an *estimate* is ``{value, low, high, seeds, spread}``: the
mean over the seeds, the ends of the interval, each seed's value, and their standard deviation (null with one seed).
A *method* is ``{selection, classifier, M, N}``.

- ``about``: ``dataset, split, modality, videos``; ``seeds`` of the trainings; ``evaluations``, their names;
  ``resamples``, ``level``, ``seed`` (of the resamples), ``resampled`` (``videos`` or ``videos and seeds``);
  ``left_out``, what could not be compared and why.
- ``methods``: for each method its fields, ``clips``, ``sampler`` (whose policy or scores choose, or null) and the
  estimates ``top1, mean_class, map, hit_rate``; null where one does not apply.
- ``differences``: for each two methods of the same M:N, and for the same selection of two trainings of the same M
  (oracles left out; see `pairs`), ``method``, ``other``, ``same_classifier``, the estimates of ``method`` minus
  ``other`` on the same videos (of hit rates only at the same M:N, which says which sections hold the action), and
  ``mcnemar``: each seed's
  p-value of the exact test that both have the same top-1, null for random methods.
- ``gap_share``: the share of the uniform-to-oracle gap that each method with a sampler closes; see `gap_shares`.
- ``headroom``: what selection could gain with the baseline's classifier at each M:N; see `headroom`.
- ``classes``: what each class gains by a method with a sampler over uniform clips of the same classifier: ``method``,
  ``other`` and ``gains``; see `class_gains`.
- ``confusion``: ``method`` (the first with a sampler, else uniform clips), ``classes``, ``counts`` (row: label, column:
  answer, added up over the seeds) and ``shares`` of each row. Null where videos have several labels or none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.class_gains import class_gains, confusion_counts, row_shares
from dsn_lightning.evaluation.headroom import gap_shares, headroom
from dsn_lightning.evaluation.outcomes import Method, beside
from dsn_lightning.evaluation.stored import read_evaluation
from dsn_lightning.evaluation.study import FIGURES, IntervalEstimate, Study
from dsn_lightning.selections.scheme import Selection

_ORDER = ("dsn", "dsn_fixed", "max_response")  # of pairs: these, then other methods, then the references
_REFERENCES = ("dense", "uniform", "random")


def compare_runs(
    folders: Sequence[Path],
    selections: Iterable[Selection],
    *,
    number: int = 2000,
    seed: int = 0,
    resample_seeds: bool = False,
    others: Mapping[str, Sequence[Path]] | None = None,
) -> dict[str, Any]:
    """Return what ``statistics.json`` holds for several evaluations of the same videos, one a seed.

    Args:
        folders: of runs or of dsn-evaluate.
        selections: the methods.
        number: of resamples.
        seed: of the resamples.
        resample_seeds: see `Study`.
        others: other trainings to hold them against, such as ``control``, one a seed in the same order; see `beside`.

    Raises:
        UsageError: a folder cannot be read, or they do not fit each other.
    """
    selections = list(selections)
    evaluations = [read_evaluation(folder, selections) for folder in folders]
    for label, own in (others or {}).items():
        if len(own) != len(folders):
            raise UsageError(
                f"{label}: takes one evaluation for each of the {len(folders)} seeds, given are {len(own)}"
            )
        found = [read_evaluation(folder, selections) for folder in own]
        evaluations = [beside(first, label, second) for first, second in zip(evaluations, found, strict=True)]
    return summary(Study(evaluations, number=number, seed=seed, resample_seeds=resample_seeds))


def summary(study: Study) -> dict[str, Any]:
    """Return what ``statistics.json`` holds; see the head of this module."""
    learned = _ranked([method for method in study.methods if study.outcomes(method)[0].sampler is not None])
    against = [(method, replace(method, selection="uniform")) for method in learned]
    return {
        "about": _about(study),
        "methods": [
            {**vars(m), "clips": study.outcomes(m)[0].row["clips"], "sampler": study.outcomes(m)[0].sampler,
             **{f: _json(study.figure(m, f)) for f in FIGURES}}
            for m in study.methods
        ],
        "differences": [_difference(study, method, other) for method, other in pairs(study.methods)],
        "gap_share": [own for method in learned for own in gap_shares(study, method)],
        "headroom": headroom(study),
        "classes": [
            {"method": vars(method), "other": vars(other), "gains": class_gains(study, method, other)}
            for method, other in against if study.has(other)
        ],
        "confusion": _confusion(study, learned),
    }  # fmt: skip


def pairs(methods: Sequence[Method]) -> list[tuple[Method, Method]]:
    """Return every two methods of the same M:N once, what is learned before what it is held against; no oracles.

    Two trainings may choose the same number of clips from different numbers of candidates: another one's methods are
    held against those of the same selection, whatever their N. Its dense clips depend on neither M nor N, and are held
    against what is learned at any.

    >>> a, b = Method("uniform", "baseline", 1, 3), Method("dsn", "dsn", 1, 3)
    >>> [(str(x), str(y)) for x, y in pairs([a, b])]
    [("dsn (dsn's classifier), 1:3", "uniform (baseline's classifier), 1:3")]
    """
    ranked = _ranked([method for method in methods if not method.selection.startswith("oracle")])
    ranked.sort(key=lambda m: ":" in m.classifier and m.selection in _REFERENCES)  # another training's are held against
    return [
        (first, second)
        for i, first in enumerate(ranked) for second in ranked[i + 1 :]
        if (first.M == second.M and first.N == second.N)
        or (_label(first) != _label(second) and _go_together(first, second, methods))
    ]  # fmt: skip


def _go_together(first: Method, second: Method, methods: Sequence[Method]) -> bool:
    """Whether methods of two trainings that differ in M or N are held against each other."""
    if first.selection == second.selection:
        return first.M == second.M
    at_hand = replace(second, M=first.M, N=first.N) in methods
    return first.selection not in _REFERENCES and second.selection == "dense" and not at_hand


def _label(method: Method) -> str:
    """Return the name of the training, see `outcomes.beside`; empty for the first one's."""
    return method.classifier.rpartition(":")[0]


def _ranked(methods: Sequence[Method]) -> list[Method]:
    order = [*_ORDER, *(m.selection for m in methods if m.selection not in _REFERENCES), *_REFERENCES]
    return sorted(methods, key=lambda m: order.index(m.selection))


def _about(study: Study) -> dict[str, Any]:
    seeds = [next(iter(own.outcomes.values())).row.get("seed") for own in study.evaluations]
    row = study.outcomes(study.methods[0])[0].row
    return {
        "dataset": row.get("dataset"), "split": row.get("split"), "modality": row.get("modality"),
        "videos": study.num_videos, "seeds": seeds, "evaluations": [own.name for own in study.evaluations],
        "resamples": study.number, "level": study.level, "seed": study.seed,
        "resampled": "videos and seeds" if study.resample_seeds else "videos",
        "left_out": list(dict.fromkeys(reason for own in study.evaluations for reason in own.left_out)),
    }  # fmt: skip


def _difference(study: Study, method: Method, other: Method) -> dict[str, Any]:
    return {
        "method": dict(vars(method)), "other": dict(vars(other)),
        "same_classifier": method.classifier == other.classifier,
        **{figure: _json(study.difference(method, other, figure)) for figure in FIGURES},
        **({"hit_rate": None} if (method.M, method.N) != (other.M, other.N) else {}),  # counted over other sections
        "mcnemar": study.mcnemar(method, other),
    }  # fmt: skip


def _confusion(study: Study, learned: Sequence[Method]) -> dict[str, Any] | None:
    method = [*learned, *(m for m in study.methods if m.selection == "uniform"), *study.methods][0]
    counts = confusion_counts(study, method)
    if counts is None:
        return None
    shares = row_shares(counts).round(6)
    return {
        "method": vars(method),
        "classes": list(study.classes),
        "counts": counts.tolist(),
        "shares": shares.tolist(),
    }


def _json(estimate: IntervalEstimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.as_json()
