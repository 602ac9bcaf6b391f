"""How large and how certain the differences between a table's methods are, over its seeds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation import comparison_table
from dsn_lightning.evaluation.scores_file import stored_scores
from dsn_lightning.files import write_atomically
from reproduce.commands import FINISHED, path_below
from reproduce.configurations import compare_folders
from reproduce.planner import Part, Planner


def write_differences(planner: Planner, parts: Sequence[Part], console: Console) -> None:
    """Print and write the differences between methods, over the seeds that have the main evaluation, for each split.

    If the main evaluation is not finished, the next finished one is the main one, unless it is the only one and no
    fusion. Another evaluation takes part if it is finished for all of these seeds.
    """
    for split in dict.fromkeys(part.split for part in parts):
        _write_differences(planner, [part for part in parts if part.split == split], console)


def _write_differences(planner: Planner, parts: Sequence[Part], console: Console) -> None:
    finished = _finished(planner, parts)
    table = planner.table
    found = [name for name in table.compared if finished[name]]
    has_main = found[:1] == [*table.compared[:1]] or bool(table.evaluations[table.compared[0]].fusion)
    if not found or not (has_main or len(found) > 1):
        return
    main, *others = found
    seeds = list(finished[main])
    folders = [finished[main][seed] for seed in seeds]
    beside = {n: [finished[n][seed] for seed in seeds] for n in others if {*seeds} <= {*finished[n]}}
    statistics = _compare(folders, beside, console)
    about = statistics["about"]
    about["evaluations"] = [path_below(name, planner.output) for name in about["evaluations"]]
    findings = comparison_table.above_chance(statistics)
    shown = comparison_table.main_differences(findings)
    title = f"differences between methods{_of_split(parts, ', split ')}"
    differences = comparison_table.differences_table(statistics, shown, title=title)
    warnings = comparison_table.warning_lines(statistics)
    lines = [*warnings, comparison_table.explanation(statistics), *comparison_table.gap_lines(findings)]
    if beside or main != table.compared[0]:
        lines.append(
            "a prefix before a classifier's colon names the evaluation that the classifier belongs to; classifiers "
            f"without a prefix belong to {main}"
        )
    if shown:
        differences.print(console)
    for line in lines if shown else warnings:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    file = planner.output / table.name / "differences" / f"{about['dataset']}{_of_split(parts, '_split')}"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file.with_suffix(".json"), json.dumps(statistics, indent=2) + "\n")
    text = (differences.markdown() if shown else "") + "\n" + "".join(f"- {line}\n" for line in lines)
    write_atomically(file.with_suffix(".md"), text)
    console.print(f"written: {file}.md, {file}.json", soft_wrap=True)


def _of_split(parts: Sequence[Part], prefix: str) -> str:
    return "" if parts[0].split is None else f"{prefix}{parts[0].split}"


def _finished(planner: Planner, parts: Sequence[Part]) -> dict[str, dict[int, Path]]:
    """Return the compared evaluations that are finished and have their scores: name -> seed -> folder."""
    found: dict[str, dict[int, Path]] = {name: {} for name in planner.table.compared}
    for name, by_seed in found.items():
        commands = {part.seed: planner.possible_evaluation(part, name) for part in parts}
        for seed, command in commands.items():
            if command is not None and command.state() == FINISHED and stored_scores(command.folder) is not None:
                by_seed[seed] = command.folder
    return found


def _compare(folders: Sequence[Path], beside: Mapping[str, Sequence[Path]], console: Console) -> dict[str, Any]:
    try:
        return compare_folders(folders, others=beside)
    except UsageError as error:  # after a short training, the control may be the same network as DSN's
        console.print(f"left out: {', '.join(beside)}: {error}", soft_wrap=True, markup=False, highlight=False)
        return compare_folders(folders)
