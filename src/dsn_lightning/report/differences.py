"""Differences between methods with their intervals, from the statistics of evaluations; seeds are taken together."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation import comparison_table
from dsn_lightning.evaluation.row_methods import method_name
from dsn_lightning.evaluation.scores_file import stored_scores
from dsn_lightning.evaluation.splits import HEADINGS
from dsn_lightning.report.collect import Source, shown
from dsn_lightning.report.confusion_matrix import MAX_DRAWN, draw_confusion, frequent_confusions
from dsn_lightning.report.page_tables import NOTHING, Cell, PageTable
from dsn_lightning.report.result_rows import Result, by_folder
from dsn_lightning.runs import RunFolder
from dsn_lightning.runs.tolerant_files import read_json

Compare = Callable[[Sequence[Path]], dict[str, Any]]
"""Makes the content of ``statistics.json`` from the folders of evaluations, one for each seed."""


@dataclass(frozen=True)
class Comparison:
    """The differences between the methods of one evaluation, or of several that differ in the seed."""

    title: str  #: data set, seeds and evaluations
    differences: PageTable  #: a row for each pair of methods
    explanation: str  #: how the intervals were made
    lines: Sequence[str]  #: networks that have learned nothing, headroom, shares of the gap, what was left out
    gains: tuple[str, PageTable] | None  #: title and table of what each class gains
    confusion: Markup  #: the confusion matrix; empty where there is none or it is too large
    confused: str  #: the most frequent confusions, a sentence
    file: str = ""  #: the file of a table of the paper that holds the differences; empty for others


def evaluations_of(results: Sequence[Result], sources: Sequence[Source]) -> list[list[Source]]:
    """Return the evaluations with stored scores, those together that differ in nothing but the seed."""
    groups: dict[str, set[int]] = {}
    for result in results:
        for name in result.sources:
            groups.setdefault(name, set()).add(result.group)
    alike: dict[tuple[int, ...], list[Source]] = {}
    for source in sources:
        if source.name in groups and stored_scores(source.folder) is not None:
            alike.setdefault(tuple(sorted(groups[source.name])), []).append(source)
    parts: list[list[Source]] = []
    for members in alike.values():  # an evaluation has the seeds of several networks
        by_place = by_folder(members, names=lambda s: [s.name], seed=lambda s: [row.get("seed") for row in s.rows])
        parts += by_place.values()
    originals = {name for result in results for name in result.origins}
    return [part for part in parts if any(source.name in originals for source in part)]  # others are copies


def not_in_tables(
    groups: Sequence[Sequence[Source]], shown: Sequence[Comparison], differences: Mapping[str, Mapping[str, Any]]
) -> list[Sequence[Source]]:
    """Return the groups whose differences no table of the paper, ``shown`` by `comparisons_of_tables`, has written."""
    compared = []
    for name in dict.fromkeys(comparison.file for comparison in shown):
        evaluations = differences[name]["about"]["evaluations"]
        compared.append([Path(str(evaluation).split(" + ")[0]) for evaluation in evaluations])

    def is_compared(group: Sequence[Source], evaluations: Sequence[Path]) -> bool:
        folders = [source.folder.absolute() for source in group]
        known = [any(folder.parts[-len(path.parts) :] == path.parts for path in evaluations) for folder in folders]
        return len(folders) == len(evaluations) and all(known)

    return [group for group in groups if not any(is_compared(group, evaluations) for evaluations in compared)]


def comparisons_of(
    groups: Sequence[Sequence[Source]], compare: Compare, *, at_most: int, announce: Callable[[str], None]
) -> tuple[list[Comparison], list[str]]:
    """Return a comparison for each group of evaluations, and a sentence for each group without one.

    A group of one is read from its ``statistics.json`` if dsn-evaluate wrote one. The statistics of ``at_most`` groups
    are computed; ``announce`` receives a line before each.
    """
    found, notes = [], []
    num_skipped = 0
    for group in groups:
        names = ", ".join(source.name for source in group)
        statistics = _written(group[0]) if len(group) == 1 else None
        if statistics is None and at_most <= 0:
            num_skipped += 1
            continue
        if statistics is None:
            at_most -= 1
            announce(f"statistics of {names}")
            try:
                statistics = compare([source.folder for source in group])
            except UsageError as error:
                notes.append(f"no statistics of {names}: {error}")
                continue
        place = f"{group[0].name}{' and its other seeds' if len(group) > 1 else ''}"
        try:
            found.append(_comparison(statistics, place))
        except Exception as error:  # of a file that may hold anything
            notes.append(_unreadable(group[0].name, error))
    if num_skipped:
        notes.append(f"statistics of {num_skipped} more groups of evaluations were not computed; raise statistics=")
    return found, notes


def comparisons_of_tables(differences: Mapping[str, Mapping[str, Any]]) -> tuple[list[Comparison], list[str]]:
    """Return a comparison for each file that a table of the paper has written; a sentence for each damaged one."""
    found, notes = [], []
    for name, statistics in differences.items():
        try:
            first = str(statistics["about"]["evaluations"][0]).split(" + ")[0]
            comparison = _comparison(statistics, name)
            has_several = any(":" in method["classifier"] for method in statistics["methods"])
        except Exception as error:  # of a file that may hold anything
            notes.append(_unreadable(name, error))
            continue
        line = f"methods without the name of a training belong to {first} and its other seeds"
        lines = [line, *comparison.lines] if has_several else comparison.lines
        found.append(replace(comparison, lines=lines, file=name))
    return found, notes


def _unreadable(name: str, error: Exception) -> str:
    return f"{name}: the statistics have an unknown format ({type(error).__name__}: {error})"


def _written(source: Source) -> dict[str, Any] | None:
    path = RunFolder(source.folder).statistics_json
    try:
        scores = stored_scores(source.folder)
        if scores is None or path.stat().st_mtime < scores.stat().st_mtime:  # written by an earlier evaluation
            return None
    except OSError:
        return None
    content = read_json(path)
    return shown(content) if isinstance(content, dict) else None


def _comparison(statistics: Mapping[str, Any], place: str) -> Comparison:
    about, findings = statistics["about"], comparison_table.above_chance(statistics)
    split = "" if about["split"] is None else f", split {about['split']}"
    seeds = f"seed{'s' * (len(about['seeds']) > 1)} {', '.join(map(str, about['seeds']))}"
    classifiers = {method["classifier"] for method in statistics["methods"]}
    lines = [
        *comparison_table.warning_lines(statistics),
        *comparison_table.headroom_lines(findings),
        *comparison_table.gap_lines(findings),
        *(f"left out: {reason}" for reason in about["left_out"]),
    ]
    confusion = statistics["confusion"]
    is_drawn = confusion and len(confusion["classes"]) <= MAX_DRAWN
    return Comparison(
        title=f"{about['dataset']}{split}, {about['modality']}, {seeds} ({place})",
        differences=_differences(comparison_table.main_differences(findings), classifiers),
        explanation=comparison_table.explanation(statistics),
        lines=lines,
        gains=_gains(findings["classes"], classifiers),
        confusion=draw_confusion(confusion, name=f"confusion of {place}") if is_drawn else Markup(""),
        confused=frequent_confusions(confusion, _name(confusion["method"], classifiers)) if confusion else "",
    )


def _differences(differences: Sequence[Mapping[str, Any]], classifiers: Collection[str]) -> PageTable:
    figures = [name for name in HEADINGS if any(difference.get(name) for difference in differences)]
    rows = []
    for difference in differences:
        names = [_name(difference[side], classifiers) for side in ("method", "other")]
        estimates = [difference.get(figure) for figure in figures]
        numbers = [Cell(comparison_table.points(e), repr(e["value"])) if e else NOTHING for e in estimates]
        rows.append([*(Cell(text, text) for text in (*names, comparison_table.schemes(difference))), *numbers])
    heads = ["method", "minus", "M:N", *(HEADINGS[name] for name in figures)]
    return PageTable(heads, [False] * 3 + [True] * len(figures), rows, {})


def _name(method: Mapping[str, Any], classifiers: Collection[str]) -> str:
    """Return a method's name, with the training that it belongs to where it is not the first."""
    training, _, classifier = method["classifier"].rpartition(":")
    plain = {name.rpartition(":")[2] for name in classifiers}
    name, selection = method_name(method["selection"], classifier, plain), method["selection"]
    return name.replace(selection, f"{selection} of {training}", 1) if training else name


def _gains(classes: Sequence[Mapping[str, Any]], classifiers: Collection[str]) -> tuple[str, PageTable] | None:
    """Return what each class gains by the first learned method over its reference."""
    if not classes:
        return None
    method, other = classes[0]["method"], classes[0]["other"]
    heads = ["class", "videos", "recall", "gain in recall", "AP", "gain in AP"]
    rows = []
    for gain in classes[0]["gains"]:
        texts = [str(gain["class"]), str(gain["videos"])]
        figures = [_percent(gain[name], "+" * name.endswith("gain")) for name in ("top1", "top1_gain", "ap", "ap_gain")]
        rows.append([*(Cell(text, text) for text in texts), *figures])
    names = [_name(side, classifiers) for side in (method, other)]
    title = f"What each class gains by {names[0]} over {names[1]} at {method['M']}:{method['N']}"
    return title, PageTable(heads, [False, *[True] * 5], rows, {})


def _percent(value: float | None, sign: str) -> Cell:
    return NOTHING if value is None or math.isnan(value) else Cell(f"{100 * value:{sign}.1f}", repr(value))
