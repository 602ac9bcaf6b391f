"""Comparisons of finished evaluations as plain data (``statistics.json``).

``statistics.json`` contains one object. Figures are fractions; an *estimate* is ``{value, low, high, seeds, spread}``:
the mean over the seeds, the ends of the interval, each seed's value, and their standard deviation (null with one seed).
A *method* is ``{selection, classifier, M, N}``.

- ``about``: ``dataset, split, modality, videos``; ``seeds`` of the trainings; ``evaluations``, their names;
  ``resamples``, ``level``, ``seed`` (of the resamples), ``resampled`` (``videos`` or ``videos and seeds``);
  ``left_out``, what could not be compared and why.
- ``warnings``: lines about networks that have learned nothing: classifiers at chance, uniform or collapsed policies.
- ``at_chance``: classifier -> best top-1, for those that do not exceed chance; see `classifiers_at_chance`.
- ``methods``: for each method its fields, ``clips``, ``kind`` (see `Selection`), ``sampler`` (the network that chooses
  the clips, or null) and the estimates ``top1, mean_class, map, hit_rate``; null if one does not apply.
- ``differences``: for each pair of methods with the same M:N, and for the same selection of two trainings with the same
  M (without upper bounds; see `pairs`), ``method``, ``other``, ``same_classifier``, the estimates of ``method`` minus
  ``other`` on the same videos (the hit rate only at the same M:N, which determines the sections that contain the
  action), and ``mcnemar``: the p-value of the exact test for equal top-1, one per seed, null for random methods.
- ``gap_share``: the share of the gap from uniform clips to the upper bound that each learned method closes; see
  `gap_shares`.
- ``headroom``: what selection could gain with the baseline's classifier at each M:N; see `headroom`.
- ``classes``: the gain of each learned method over uniform clips of the same classifier, by class: ``method``,
  ``other`` and ``gains``; see `class_gains`.
- ``confusion``: ``method`` (the first learned one, else uniform clips), ``classes``, ``counts`` (row: label, column:
  prediction, summed over the seeds) and ``shares`` of each row. Null if videos have several labels or none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.class_gains import class_gains, confusion_counts, row_shares
from dsn_lightning.evaluation.headroom import gap_shares, headroom
from dsn_lightning.evaluation.learning_checks import learning_warnings
from dsn_lightning.evaluation.outcomes import Method, add_training
from dsn_lightning.evaluation.row_methods import merged_order
from dsn_lightning.evaluation.stored import read_evaluation
from dsn_lightning.evaluation.study import RATES, IntervalEstimate, Study
from dsn_lightning.selections import Dense, Kind, Selection, Uniform

_ORDER: tuple[Kind, ...] = ("learned", "upper_bound", "reference")


def compare_runs(
    folders: Sequence[Path],
    selections: Iterable[Selection],
    *,
    number: int = 2000,
    seed: int = 0,
    resample_seeds: bool = False,
    others: Mapping[str, Sequence[Path]] | None = None,
) -> dict[str, Any]:
    """Return the content of ``statistics.json`` for several evaluations of the same videos, one per seed.

    ``others``: label of another training, such as ``control`` -> its evaluations, in the same order of seeds (see
    `add_training`). Evaluations are folders of runs or of dsn-evaluate; for the other arguments see `Study`.

    Raises:
        UsageError: a folder cannot be read, or the evaluations cannot be compared.
    """
    selections = list(selections)
    evaluations = [read_evaluation(folder, selections) for folder in folders]
    for label, other_folders in (others or {}).items():
        if len(other_folders) != len(folders):
            raise UsageError(f"{label}: expected one evaluation per seed, {len(folders)}, got {len(other_folders)}")
        added = [read_evaluation(folder, selections) for folder in other_folders]
        evaluations = [add_training(first, label, second) for first, second in zip(evaluations, added, strict=True)]
    return summary(Study(evaluations, number=number, seed=seed, resample_seeds=resample_seeds))


def summary(study: Study) -> dict[str, Any]:
    """Return the content of ``statistics.json``; see this module's description."""
    learned = [method for method in _ranked(study.kinds) if study.kinds[method] == "learned"]
    uniform = {method: replace(method, selection=Uniform.name) for method in learned}
    at_chance, warnings = learning_warnings(study.evaluations)
    return {
        "about": _about(study),
        "warnings": warnings,
        "at_chance": at_chance,
        "methods": [_method(study, method) for method in study.methods],
        "differences": [_difference(study, method, other) for method, other in pairs(study.kinds)],
        "gap_share": [share for method in learned for share in gap_shares(study, method)],
        "headroom": headroom(study),
        "classes": [
            {"method": vars(method), "other": vars(other), "gains": class_gains(study, method, other)}
            for method, other in uniform.items()
            if study.has(other)
        ],
        "confusion": _confusion(study, learned),
    }


def pairs(kinds: Mapping[Method, Kind]) -> list[tuple[Method, Method]]:
    """Return each pair of methods with the same M:N once, learned before reference methods; no upper bounds.

    Two trainings may choose the same number of clips from different numbers of candidates. Methods of different
    trainings with the same selection and M are therefore paired whatever their N. The dense clips of another training
    depend on neither M nor N, so learned methods at any M:N are paired with them. ``kinds`` is in the order of the
    configuration.

    >>> kinds = {Method("uniform", "baseline", 1, 3): "reference", Method("dsn", "dsn", 1, 3): "learned"}
    >>> [(str(method), str(other)) for method, other in pairs(kinds)]
    [("dsn (dsn's classifier), 1:3", "uniform (baseline's classifier), 1:3")]
    """
    ranked = [method for method in _ranked(kinds) if kinds[method] != "upper_bound"]
    ranked.sort(key=lambda method: method.training != "" and kinds[method] == "reference")  # they are always the other
    return [
        (first, second)
        for i, first in enumerate(ranked)
        for second in ranked[i + 1 :]
        if (first.M == second.M and first.N == second.N)
        or (first.training != second.training and _comparable(first, second, kinds))
    ]


def _comparable(first: Method, second: Method, kinds: Mapping[Method, Kind]) -> bool:
    """Return whether methods of two trainings with different M or N are compared."""
    if first.selection == second.selection:
        return first.M == second.M
    has_same_scheme = replace(second, M=first.M, N=first.N) in kinds
    return kinds[first] == "learned" and second.selection == Dense.name and not has_same_scheme


def _ranked(kinds: Mapping[Method, Kind]) -> list[Method]:
    """Order the methods by kind; within a kind, the selection that the configuration names last comes first."""
    by_training: dict[str, dict[str, None]] = {}
    for method in kinds:
        by_training.setdefault(method.training, {})[method.selection] = None
    position = {name: i for i, name in enumerate(merged_order([*names] for names in by_training.values()))}
    return sorted(kinds, key=lambda method: (_ORDER.index(kinds[method]), -position[method.selection]))


def _about(study: Study) -> dict[str, Any]:
    row = study.outcomes(study.methods[0])[0].row
    return {
        **{name: row.get(name) for name in ("dataset", "split", "modality")},
        "videos": study.num_videos,
        "seeds": [next(iter(evaluation.outcomes.values())).row.get("seed") for evaluation in study.evaluations],
        "evaluations": [evaluation.name for evaluation in study.evaluations],
        "resamples": study.number,
        "level": study.level,
        "seed": study.seed,
        "resampled": "videos and seeds" if study.resample_seeds else "videos",
        "left_out": list(dict.fromkeys(reason for evaluation in study.evaluations for reason in evaluation.left_out)),
    }


def _method(study: Study, method: Method) -> dict[str, Any]:
    outcome = study.outcomes(method)[0]
    described = {**vars(method), "clips": outcome.row["clips"], "kind": outcome.kind, "sampler": outcome.sampler}
    return {**described, **{rate: _json(study.figure(method, rate)) for rate in RATES}}


def _difference(study: Study, method: Method, other: Method) -> dict[str, Any]:
    rates = {rate: _json(study.difference(method, other, rate)) for rate in RATES}
    if (method.M, method.N) != (other.M, other.N):
        rates["hit_rate"] = None  # counted over different sections
    return {
        "method": dict(vars(method)),
        "other": dict(vars(other)),
        "same_classifier": method.classifier == other.classifier,
        **rates,
        "mcnemar": study.mcnemar(method, other),
    }


def _confusion(study: Study, learned: Sequence[Method]) -> dict[str, Any] | None:
    uniform = [method for method in study.methods if method.selection == Uniform.name]
    method = [*learned, *uniform, *study.methods][0]
    counts = confusion_counts(study, method)
    if counts is None:
        return None
    matrices = {"counts": counts.tolist(), "shares": row_shares(counts).round(6).tolist()}
    return {"method": vars(method), "classes": list(study.classes), **matrices}


def _json(estimate: IntervalEstimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.as_json()
