"""Rows of results: rows that differ in nothing but the seed become one, with mean and standard deviation."""

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dsn_lightning.evaluation.row_methods import kind_of, merged_order, method_name, own_classifier
from dsn_lightning.evaluation.scores_file import stored_scores
from dsn_lightning.evaluation.splits import FIGURES, HELD_OUT, group_rows, varies, with_mean_clips
from dsn_lightning.paper.basis import counts_text, start_text, why_not_comparable
from dsn_lightning.paper.matching import paper_metric
from dsn_lightning.report.collect import Collection, Json, Source, dataset_name
from dsn_lightning.selections import Kind

_T = TypeVar("_T")

_SETTINGS = ("algorithm", "backbone", "dataset", "estimator", "observation", "schedule", "weights", "fusion_weights")
"""Keys and groups of the configuration that can set a row apart; of these, not the following ones."""
_NOT_SETTINGS = (  # where files are, how they are read, what a row states itself, what follows from another key
    *("algorithm.module", "algorithm.name", "algorithm.train_N", "backbone.name", "backbone.cache_activations"),
    *("dataset.name", "dataset.root", "dataset.split", "dataset.modality", "dataset.seed", "dataset.reading.prepared"),
    *("dataset.reading.copies", "dataset.reading.cache_frames", "dataset.reading.decoder"),
    *("dataset.reading.dense_clips", "algorithm.recompute", "observation.name", "observation.checkpoint"),
    *("observation.network.clips_per_section", "schedule.rule.max_epochs", "schedule.sampler_rule.max_epochs"),
)
_IN_SOME_ROWS = {"gamma": "gamma", "N": "train_N"}
"""Key of the configuration -> the field that states it; only rows with a sampler have a value there."""


@dataclass(frozen=True)
class Result:
    """Rows that differ in nothing but the seed."""

    described: Json  #: a row's fields that are neither figures nor counts nor the seed, and the counts of the first row
    method: str  #: what figures and texts call the selection method and the classifier
    kind: Kind
    setting: str  #: what else sets these rows apart: values of the configuration, or their folder
    seeds: tuple[Any, ...]  #: one for each row, sorted
    values: Mapping[str, tuple[float | None, ...]]  #: figure -> value for each seed; None where a row has none
    sources: tuple[str, ...]  #: names of the folders that hold the rows
    origins: tuple[str, ...]  #: for each row, the first folder that holds it
    group: int  #: number shared by the results that only their folders tell apart
    basis: tuple[str, str] = ("", "")  #: videos and classes it stands on, and what its networks started from
    withheld: str = ""  #: why no difference to the paper may be shown; empty where it may

    def mean(self, figure: str) -> float | None:
        """Return the mean over seeds; None if a seed lacks the figure."""
        known = [value for value in self.values.get(figure, ()) if value is not None]
        return statistics.fmean(known) if known and len(known) == len(self.seeds) else None

    def spread(self, figure: str) -> float | None:
        """Return the standard deviation over seeds (n - 1); None with one seed."""
        if len(self.seeds) < 2 or self.mean(figure) is None:
            return None
        return statistics.stdev(value for value in self.values[figure] if value is not None)

    @property
    def main_figure(self) -> str:
        """The metric that the paper gives for the data set, where the rows have it; else ``top1``."""
        metric = paper_metric(self.described["dataset"].removesuffix(HELD_OUT))
        return metric if metric is not None and self.mean(metric) is not None else "top1"


@dataclass(frozen=True)
class _Row:
    row: Json
    setting: str
    sources: tuple[str, ...]


def results_of(found: Collection) -> list[Result]:
    """Return all results, sorted by data set, network and scheme; methods in the order of the evaluations.

    Rows that are equal in everything but the seconds that they took count once: an evaluation and the table it was
    copied to, or the baseline's row in each job of a sweep. Values of the configuration that differ tell runs apart.
    What is still alike, seed included, but has other figures, is told apart by its folder.
    """
    classifiers = {str(row.get("classifier")) for source in found.sources for row in source.rows}
    environments = {source.name: source.environment for source in found.sources}
    results = []
    for number, group in enumerate(_grouped(_distinct(found))):
        parts = by_folder(group, names=lambda row: row.sources, seed=lambda row: row.row.get("seed"))
        made = [_result(rows, number, place, classifiers) for place, rows in parts.items()]
        results += [_with_basis(result, rows, environments) for result, rows in zip(made, parts.values(), strict=True)]
    methods = merged_order(list(dict.fromkeys(row["selection"] for row in source.rows)) for source in found.sources)
    return sorted(results, key=lambda result: _order(result, methods, classifiers))


def by_folder(
    members: Sequence[_T], *, names: Callable[[_T], Sequence[str]], seed: Callable[[_T], Any]
) -> dict[str, list[_T]]:
    """Split members in which a seed occurs twice: by folder without the seed in its name, else by folder.

    The tables' folders have the digest of a configuration after the seed, which differs with it. A member that lies
    in several folders (``names``) belongs to the part of the first one; those of the others have it as well, unless a
    seed would occur twice there (in a file that others were copied to).

    Returns:
        What the folders of a part have in common -> its members; all of them under "" where no seed occurs twice.
    """

    def repeats(part: Sequence[_T]) -> bool:
        seeds = [repr(seed(member)) for member in part]
        return len(seeds) > len(set(seeds))

    if not repeats(members):
        return {"": list(members)}
    parts: dict[str, list[_T]] = {}
    places: list[tuple[_T, list[str]]] = []
    for pattern in (r"seed[_=-]?\d+(_[0-9a-f]{10}\b)?", r"seed[_=-]?\d+", r"$^"):
        places = [(member, [re.sub(pattern, "seed*", name) for name in names(member)]) for member in members]
        parts = {}
        for member, folders in places:
            parts.setdefault(folders[0], []).append(member)
        if not any(map(repeats, parts.values())):
            break
    whole = {part: [member for member, folders in places if part in folders] for part in parts}
    return {part: parts[part] if repeats(whole[part]) else whole[part] for part in parts}


def _distinct(found: Collection) -> list[_Row]:
    settings = _settings(found)
    kept: dict[tuple, _Row] = {}
    for source in sorted(found.sources, key=lambda source: stored_scores(source.folder) is None):  # copies last
        setting, run_values = settings.get(source.name, ("", {}))
        for row in source.rows:
            key = tuple(sorted((name, repr(value)) for name, value in row.items() if name != "seconds_per_video"))
            missing = [f"{name}={value}" for name, value in run_values.items() if row.get(_IN_SOME_ROWS[name]) is None]
            text = ", ".join(filter(None, [setting, *missing]))
            if key in kept:
                before = kept[key]
                same = before.setting if text in ("", before.setting) else "" if before.setting else text
                kept[key] = _Row(before.row, same, (*before.sources, source.name))
            else:
                named = {**row, "dataset": dataset_name(row["dataset"], source.environment)}
                kept[key] = _Row(named, text, (source.name,))
    return list(kept.values())


def _settings(found: Collection) -> dict[str, tuple[str, Json]]:
    """Return, for each source that is a run, the values of its configuration that differ among runs of its kind.

    The second part holds those of gamma and N that differ: not every row states them, but the classifier that answers
    was trained with them.
    """
    configs = {run.folder.resolve(): run.config for run in found.runs}
    kinds: dict[tuple, list[tuple[Source, Json, Json]]] = {}
    for source in found.sources:
        config = configs.get(source.folder.resolve(), {})
        values = {
            key: value
            for key, value in config.items()
            if _is_below(key, _SETTINGS) and not _is_below(key, _NOT_SETTINGS)
        }
        if config.get("dataset.modality") != "flow":
            values.pop("backbone.flow_std", None)
        in_rows = {key: config[key] for key in _IN_SOME_ROWS if key in config}
        kind = (config.get("dataset.name"), config.get("algorithm.name"))
        kinds.setdefault(kind, []).append((source, values, in_rows))
    settings = {}
    for members in kinds.values():
        varied = _varied([values for _, values, _ in members])
        varied_in_rows = _varied([in_rows for _, _, in_rows in members])
        for source, values, in_rows in members:
            typed = configs.get(source.folder.resolve(), {}).get("overrides") or ()
            text = ", ".join(dict.fromkeys(_as_typed(key, values[key], typed) for key in varied if key in values))
            settings[source.name] = text, {key: in_rows[key] for key in varied_in_rows if key in in_rows}
    return settings


def _as_typed(key: str, value: Any, typed: Sequence[str]) -> str:
    """Return a value of the configuration as the override that set it: the key's own, or that of a group above it.

    >>> _as_typed("backbone.network.blocks", (3, 4, 6, 3), ["M=1", "backbone=r2plus1d_34"])
    'backbone=r2plus1d_34'
    >>> _as_typed("schedule.lr", 0.1, ["schedule=tiny", "schedule.lr=1e-1"])
    'schedule.lr=1e-1'
    """
    words = {override.partition("=")[0].lstrip("+").replace("/", "."): override.lstrip("+") for override in typed}
    above = [key.rsplit(".", i)[0] for i in range(key.count(".") + 1)]
    return next((words[name] for name in above if name in words), f"{key}={value}")


def _varied(configs: Sequence[Json]) -> list[str]:
    keys = sorted({key for config in configs for key in config})
    return [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]


def _is_below(key: str, groups: Sequence[str]) -> bool:
    return any(key == group or key.startswith(f"{group}.") for group in groups)


def _grouped(rows: Sequence[_Row]) -> list[list[_Row]]:
    """Group rows that differ in nothing but the seed: other costs are other networks, other videos another test."""
    tagged = [{**row.row, "_of": (row.setting, row.row.get("videos"), _cost_of(row.row)), "_row": row} for row in rows]
    return [[row["_row"] for row in group] for group in group_rows(tagged, but=("seed", "_row"))]


def _cost_of(row: Mapping[str, Any]) -> object:
    """Return what tells other networks apart: the cost, or that of the sampler if the number of clips varies."""
    return row.get("gmacs_observation" if varies(row, "clips") else "gmacs")


def _result(rows: list[_Row], group: int, place: str, classifiers: set[str]) -> Result:
    rows = sorted(rows, key=lambda row: (str(type(row.row.get("seed"))), row.row.get("seed") or 0))
    first = rows[0].row
    return Result(
        described=with_mean_clips(
            {name: value for name, value in first.items() if name not in {*FIGURES, "seed"}}, [row.row for row in rows]
        ),
        method=method_name(first["selection"], str(first.get("classifier")), classifiers),
        kind=kind_of(first),
        setting=", ".join(filter(None, (rows[0].setting, place))),
        seeds=tuple(row.row.get("seed") for row in rows),
        values={name: tuple(row.row.get(name) for row in rows) for name in FIGURES},
        sources=tuple(dict.fromkeys(name for row in rows for name in row.sources)),
        origins=tuple(row.sources[0] for row in rows),
        group=group,
    )


def _with_basis(result: Result, rows: Sequence[_Row], environments: Mapping[str, Json]) -> Result:
    known = [next((e for name in row.sources if (e := environments[name]).get("networks")), {}) for row in rows]
    pairs = [(row.row, environment) for row, environment in zip(rows, known, strict=True)]
    counts = "; or ".join(dict.fromkeys(counts_text(*pair) for pair in pairs))
    starts = "; or ".join(filter(None, dict.fromkeys(start_text(*pair) for pair in pairs)))
    withheld = next(filter(None, (why_not_comparable(*pair) for pair in pairs)), "")
    return replace(result, basis=(counts, starts), withheld=withheld)


def _order(result: Result, methods: Sequence[str], classifiers: set[str]) -> tuple:
    row = result.described
    numbers = [value if isinstance(value := row.get(key), int) else 0 for key in ("train_M", "train_N", "M", "N")]
    texts = [str(row.get(key)) for key in ("dataset", "split", "modality", "backbone")]
    classifier = str(row.get("classifier"))
    is_other = classifier != own_classifier(row["selection"], classifiers)
    return (*texts, numbers[2:], methods.index(row["selection"]), is_other, classifier, numbers, result.setting)
