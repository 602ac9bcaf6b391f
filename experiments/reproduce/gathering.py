"""From finished evaluations to the records of a table."""

import json
import statistics
from collections.abc import Sequence
from typing import Any

from dsn_lightning.commands.held_out import name_in_results
from dsn_lightning.cost.macs import VideoCost
from dsn_lightning.paper import literature, paper_table
from reproduce.commands import Command, reason_of_failure
from reproduce.estimates import Costs
from reproduce.planner import PaperTable, Part, Planner, Row
from reproduce.records import Record


def records(table: PaperTable, planner: Planner, parts: Sequence[Part], costs: Costs, *, rows: Sequence[Row]) -> list[
    Record
]:  # fmt: skip
    """Return the records of all rows, the literature's included, on the data set that the parts have.

    Args:
        table: their table.
        planner: whose evaluations are looked at.
        parts: one a seed and split.
        costs: counts multiply-adds.
        rows: those that were asked for; the others are ``not run``.
    """
    cfg = next(iter(parts[0].configs.values()))
    dataset = name_in_results(cfg)
    found: dict[tuple[int, int | None, str], list[dict[str, Any]]] = {}
    commands: dict[tuple[int, int | None, str], Command | None] = {}
    for part in parts:
        for name in table.evaluations:
            command = planner.evaluation(part, name, there=True)
            there = command is not None and command.state() == "there"
            key = (part.seed, part.split, name)
            commands[key] = command
            found[key] = json.loads((command.folder / "results.json").read_text()) if there and command else []
    made = []
    for row in table.rows:
        for metric in table.datasets.get(cfg.dataset.name, next(iter(table.datasets.values()))):
            if row.evaluation is None:
                made.append(_of_literature(table, row, dataset, metric))
            else:
                own = _figures(row, metric, parts, found)
                made.append(_record(table, row, dataset, metric, own, planner, parts, commands, costs, row in rows))
    return made


def _figures(row: Row, metric: str, parts: Sequence[Part], found: dict[Any, list[dict[str, Any]]]) -> list[
    tuple[Part, dict[str, Any]]
]:  # fmt: skip
    """Return the parts that have the row's figure, and what results.json says of it."""
    own = []
    for part in parts:
        for line in found[part.seed, part.split, str(row.evaluation)]:
            same = line["selection"] == row.selection and line["classifier"] == row.classifier
            if same and row.M in (None, line["M"]) and line[metric] is not None:
                own.append((part, line))
                break
    return own


def _record(
    table: PaperTable, row: Row, dataset: str, metric: str, own: list[tuple[Part, dict[str, Any]]], planner: Planner,
    parts: Sequence[Part], commands: dict[Any, Command | None], costs: Costs, asked: bool,
) -> Record:  # fmt: skip
    by_seed: dict[int, list[dict[str, Any]]] = {}
    for part, line in own:
        by_seed.setdefault(part.seed, []).append(line)
    whole = {seed: lines for seed, lines in by_seed.items() if len(lines) == max(1, len(table.splits))}
    seeds = sorted({part.seed for part in parts})
    status = "run" if len(whole) == len(seeds) else "partly run" if own else "not run"
    reason = ""
    if status != "run":
        have = {(part.seed, part.split) for part, _ in own}
        why = {_why(row, part, planner, commands) for part in parts if (part.seed, part.split) not in have}
        reason = "; ".join(sorted(text for text in why if text)) or ("" if asked else "not asked for")
        if status == "not run" and why - {""}:
            status = "failed"
        reason = reason or "not run yet"
    figures = _paper(table, row)
    cost = _cost(table, row, parts[0], costs)
    first_line = own[0][1] if own else None  # what it says of costs is the same in all
    counted = cost.total if cost else None
    first = next(iter(whole.values()), None)
    return Record(
        table=table.name, row=row.name, kind="extra" if row.extra else "paper", dataset=dataset, metric=metric,
        paper=figures.get(f"{dataset}/{metric}", figures.get(metric) if dataset in table.datasets else None),
        ours=tuple(statistics.fmean(o[metric] for o in lines) for _, lines in sorted(whole.items())),
        seeds=tuple(sorted(whole)), status=status, reason=reason,
        network=_network(table, row, parts[0]),
        clips=str(first_line["clips"]) if first_line else _clips(table, row, parts[0]),
        gmacs=first_line["gmacs"] if first_line else counted, paper_gmacs=figures.get("gmacs"),
        videos=sum(o["videos"] for o in first) if first else None,
        evaluations=tuple(
            str(command.folder) for part, _ in own
            if (command := commands[part.seed, part.split, str(row.evaluation)]) is not None
        ),
        note=row.extra,
    )  # fmt: skip


def _paper(table: PaperTable, row: Row) -> dict[str, float]:
    return paper_table(table.number).get(row.name, {}) if table.number is not None and not row.extra else {}


def _why(row: Row, part: Part, planner: Planner, commands: dict[Any, Command | None]) -> str:
    """Return why a part has no figure: the failure of what it needs, itself last; empty if nothing has failed."""
    name = str(row.evaluation)
    names = [name, *planner.table.evaluations[name].fusion]
    runs = [part.trainings[run] for n in names for run in planner.table.runs_of(row, n)]
    first: dict[str, Command] = {c.name: c for c in part.order}
    needed = [first[a] for c in runs for a in c.after if a in first] + runs
    evaluations = [c for n in reversed(names) if (c := commands.get((part.seed, part.split, n))) is not None]
    for command in [*needed, *evaluations]:
        if command.state() == "failed":
            return f"{command.name}: {reason_of_failure(command.folder)}"
    return ""


def _config(table: PaperTable, name: str, part: Part) -> Any:
    return part.configs[next(iter(table.evaluations[name].roles.values()))]


def _cost(table: PaperTable, row: Row, part: Part, costs: Costs) -> VideoCost | None:
    """Return what a video costs, both streams together."""
    own = [costs.video(_config(table, n, part), row.selection, row.M) for n in table.streams_of(row)]
    known = [c for c in own if c is not None]
    return VideoCost(sum(c.classifier for c in known), sum(c.observation for c in known)) if known else None


def _network(table: PaperTable, row: Row, part: Part) -> str:
    cfg = _config(table, table.streams_of(row)[0], part)
    looks = row.selection in ("dsn", "dsn_fixed", "max_response")
    return f"{cfg.backbone.name} + {cfg.observation.name}" if looks else str(cfg.backbone.name)


def _clips(table: PaperTable, row: Row, part: Part) -> str:
    cfg = _config(table, table.streams_of(row)[0], part)
    first = cfg.test.M if isinstance(cfg.test.M, int) else cfg.test.M[0]
    return str(cfg.dataset.reading.dense_clips if row.selection == "dense" else row.M or first)


def _of_literature(table: PaperTable, row: Row, dataset: str, metric: str) -> Record:
    assert table.number is not None
    own = literature(table.number)[row.name]
    value = own.get(f"{dataset}/{metric}", own.get(metric))
    return Record(
        table=table.name, row=row.name, kind="literature", dataset=dataset, metric=metric,
        paper=float(value) if value is not None and dataset in table.datasets else None, status="literature",
        network=own.get("backbone", ""), clips=own.get("clips", ""),
        note=", ".join(own[key] for key in ("input", "pretrained") if key in own),
    )  # fmt: skip
