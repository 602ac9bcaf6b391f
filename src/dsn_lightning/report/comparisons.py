"""How sure differences between methods are: the statistics of evaluations, those of several seeds held together."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation import comparison_table
from dsn_lightning.evaluation.stored import stored_scores
from dsn_lightning.report.collect import Source
from dsn_lightning.report.page_tables import NAMES, NOTHING, Cell, Table
from dsn_lightning.report.result_rows import Result, by_folder
from dsn_lightning.runs import RunFolder

Compare = Callable[[Sequence[Path]], dict[str, Any]]
"""Makes the content of ``statistics.json`` of the folders of evaluations, one a seed."""

_MOST_DRAWN = 60  # classes of a confusion matrix


@dataclass(frozen=True)
class Comparison:
    """What is known of the differences between the methods of one or several evaluations.

    Attributes:
        title: data set, seeds and evaluations.
        differences: a row for each two methods.
        explanation: how intervals were made.
        lines: shares of the gap, headroom, what was left out.
        gains: (title, table) of what each class gains.
        confusion: drawing of the confusion matrix; empty where it is too large or there is none.
        confused: the most frequent confusions, a sentence.
        file: that a table has written it to; empty for others.
    """

    title: str
    differences: Table
    explanation: str
    lines: Sequence[str]
    gains: tuple[str, Table] | None
    confusion: Markup
    confused: str
    file: str = ""


def evaluations_of(results: Sequence[Result], sources: Sequence[Source]) -> list[list[Source]]:
    """Return the evaluations with stored scores, those together that differ in nothing but the seed."""
    kinds: dict[str, set[int]] = {}
    for result in results:
        for name in result.sources:
            kinds.setdefault(name, set()).add(result.group)
    alike: dict[tuple[int, ...], list[Source]] = {}
    for source in sources:
        if source.name in kinds and stored_scores(source.folder) is not None:
            alike.setdefault(tuple(sorted(kinds[source.name])), []).append(source)
    seeds = {source.name: [row.get("seed") for row in source.rows] for source in sources}  # of several networks
    parts = [
        part
        for members in alike.values()
        for part in by_folder(members, names=lambda own: [own.name], seed=lambda own: seeds[own.name]).values()
    ]
    firsts = {name for result in results for name in result.origins}
    return [part for part in parts if any(own.name in firsts for own in part)]  # others are copies


def not_in_tables(
    groups: Sequence[Sequence[Source]], shown: Sequence[Comparison], differences: Mapping[str, Mapping[str, Any]]
) -> list[Sequence[Source]]:
    """Return the groups whose differences are not among those that a table of the paper has written.

    Args:
        groups: evaluations that differ in the seed.
        shown: what `comparisons_of_tables` could show.
        differences: see `Collection`.
    """
    there = []
    for name in dict.fromkeys(own.file for own in shown):
        there.append([Path(str(own).split(" + ")[0]) for own in differences[name]["about"]["evaluations"]])

    def stands_in(group: Sequence[Source], evaluations: Sequence[Path]) -> bool:
        folders = [source.folder.absolute() for source in group]
        known = [any(folder.parts[-len(own.parts) :] == own.parts for own in evaluations) for folder in folders]
        return len(folders) == len(evaluations) and all(known)

    return [group for group in groups if not any(stands_in(group, evaluations) for evaluations in there)]


def comparisons_of(
    groups: Sequence[Sequence[Source]], compare: Compare, *, at_most: int, say: Callable[[str], None]
) -> tuple[list[Comparison], list[str]]:
    """Return a comparison for each group of evaluations, and a sentence for each that there is none of.

    A group of one is taken from its ``statistics.json``, where dsn-evaluate wrote one.

    Args:
        groups: evaluations that differ in the seed.
        compare: works statistics out.
        at_most: so many groups are worked out.
        say: is told what takes long.
    """
    found, notes = [], []
    left_out = 0
    for group in groups:
        others = " and its other seeds" if len(group) > 1 else ""
        statistics = _written(group[0]) if len(group) == 1 else None
        if statistics is None and at_most <= 0:
            left_out += 1
            continue
        if statistics is None:
            at_most -= 1
            say(f"statistics of {', '.join(source.name for source in group)}")
            try:
                statistics = compare([source.folder for source in group])
            except UsageError as error:
                notes.append(f"no statistics of {', '.join(source.name for source in group)}; {error}")
                continue
        try:
            found.append(_comparison(statistics, f"{group[0].name}{others}"))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            notes.append(f"{group[0].name}: statistics of another version ({type(error).__name__}: {error})")
    if left_out:
        notes.append(
            f"statistics of {left_out} more groups of evaluations were not worked out; statistics= sets how many"
        )
    return found, notes


def comparisons_of_tables(differences: Mapping[str, Mapping[str, Any]]) -> tuple[list[Comparison], list[str]]:
    """Return a comparison for each file that a table of the paper has written, and a sentence for each unreadable one.

    Args:
        differences: see `Collection`.
    """
    found, notes = [], []
    for name, statistics in differences.items():
        try:
            first = str(statistics["about"]["evaluations"][0]).split(" + ")[0]
            made = _comparison(statistics, name)
            several = any(":" in method["classifier"] for method in statistics["methods"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            notes.append(f"{name}: statistics of another version ({type(error).__name__}: {error})")
            continue
        whose = [f"methods without the name of a training are of {first} and its other seeds"] if several else []
        found.append(replace(made, lines=[*whose, *made.lines], file=name))
    return found, notes


def _written(source: Source) -> dict[str, Any] | None:
    path = RunFolder(source.folder).statistics_json
    try:
        scores = stored_scores(source.folder)
        if scores is None or path.stat().st_mtime < scores.stat().st_mtime:  # of an evaluation before this
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _comparison(statistics: Mapping[str, Any], where: str) -> Comparison:
    about = statistics["about"]
    split = "" if about["split"] is None else f", split {about['split']}"
    seeds = f"seed{'s' * (len(about['seeds']) > 1)} {', '.join(map(str, about['seeds']))}"
    lines = [
        *comparison_table.headroom_lines(statistics),
        *comparison_table.gap_lines(statistics),
        *(f"left out: {reason}" for reason in about["left_out"]),
    ]
    confusion = statistics["confusion"]
    return Comparison(
        f"{about['dataset']}{split}, {about['modality']}, {seeds} ({where})",
        _differences(comparison_table.main_differences(statistics)),
        comparison_table.explanation(statistics),
        lines,
        _gains(statistics["classes"]),
        _matrix(confusion) if confusion and len(confusion["classes"]) <= _MOST_DRAWN else Markup(""),
        _confused(confusion) if confusion else "",
    )


def _differences(differences: Sequence[Mapping[str, Any]]) -> Table:
    figures = [name for name in NAMES if any(own.get(name) for own in differences)]
    rows = []
    for own in differences:
        texts = [_name(own["method"]), _name(own["other"]), comparison_table.schemes(own)]
        numbers = [
            Cell(comparison_table.points(own[name]), repr(own[name]["value"])) if own.get(name) else NOTHING
            for name in figures
        ]
        rows.append([*(Cell(text, text) for text in texts), *numbers])
    heads = ["method", "minus", "M:N", *(NAMES[name] for name in figures)]
    return Table(heads, [False] * 3 + [True] * len(figures), rows, {})


def _name(method: Mapping[str, Any]) -> str:
    own = "dsn" if method["selection"] == "dsn" else "baseline"
    training, _, classifier = method["classifier"].rpartition(":")
    whose = "" if classifier == own else f" ({classifier}'s classifier)"
    return f"{method['selection']}{f' of {training}' if training else ''}{whose}"


def _gains(classes: Sequence[Mapping[str, Any]]) -> tuple[str, Table] | None:
    """Return what each class gains by DSN, or by the first method there is, over uniform clips."""
    order = sorted(classes, key=lambda own: (own["method"]["selection"] != "dsn", own["method"]["classifier"] != "dsn"))
    if not order:
        return None
    own = order[0]
    heads = ["class", "videos", "recall", "gain in recall", "AP", "gain in AP"]
    rows = [
        [Cell(str(line["class"]), str(line["class"])), Cell(str(line["videos"]), str(line["videos"])),
         *(_percent(line[name], signed=name.endswith("gain")) for name in ("top1", "top1_gain", "ap", "ap_gain"))]
        for line in own["gains"]
    ]  # fmt: skip
    scheme = f"{own['method']['M']}:{own['method']['N']}"
    title = f"What each class gains by {_name(own['method'])} over {_name(own['other'])} at {scheme}"
    return title, Table(heads, [False, *[True] * 5], rows, {})


def _percent(value: float | None, *, signed: bool) -> Cell:
    if value is None or math.isnan(value):
        return NOTHING
    return Cell(f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}", repr(value))


def _confused(confusion: Mapping[str, Any]) -> str:
    classes, counts = confusion["classes"], confusion["counts"]
    pairs = [
        (counts[i][k], f"{own} taken for {other} ({counts[i][k]} of {sum(counts[i])})")
        for i, own in enumerate(classes) for k, other in enumerate(classes) if i != k and counts[i][k]
    ]  # fmt: skip
    told = [text for _, text in sorted(pairs, key=lambda pair: -pair[0])[:10]]
    method = f"{_name(confusion['method'])}, {confusion['method']['M']}:{confusion['method']['N']}"
    return f"{method}; most often: {'; '.join(told)}." if told else f"{method}: nothing is taken for anything else."


def _matrix(confusion: Mapping[str, Any]) -> Markup:
    """Draw the matrix: a row a label, a column an answer, the darker the larger its share of the row."""
    classes, shares, counts = confusion["classes"], confusion["shares"], confusion["counts"]
    side = 12 if len(classes) > 15 else 20
    left, top = 110, 6
    whole = side * len(classes)
    cell = Markup('<rect class="share" x="{}" y="{}" width="{}" height="{}" opacity="{:.2f}"><title>{}</title></rect>')
    name = Markup('<text class="name" x="{}" y="{}" text-anchor="end">{}</text>')
    turned = Markup('<text class="name" text-anchor="end" transform="translate({} {}) rotate(-60)">{}</text>')
    parts = [
        Markup('<svg viewBox="0 0 {} {}" style="max-width:{}px" role="img" aria-label="{}">').format(
            left + whole + 4,
            top + whole + 90,
            int(1.25 * (left + whole)),
            "confusion matrix: rows labels, columns answers",
        ),
        Markup('<rect class="frame" x="{}" y="{}" width="{}" height="{}"/>').format(left, top, whole, whole),
    ]
    for i, own in enumerate(classes):
        short = own if len(own) <= 16 else f"{own[:15]}…"
        parts.append(name.format(left - 4, top + (i + 0.5) * side + 3.5, short))
        parts.append(turned.format(left + (i + 0.5) * side + 4, top + whole + 9, short))
        for k, other in enumerate(classes):
            if counts[i][k]:
                told = f"{own} taken for {other}: {counts[i][k]} of {sum(counts[i])}"
                parts.append(cell.format(left + k * side, top + i * side, side, side, max(shares[i][k], 0.08), told))
    return Markup("").join([*parts, Markup("</svg>")])
