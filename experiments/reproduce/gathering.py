"""From finished evaluations to the records of a table."""

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from dsn_lightning.cost.macs import VideoCost
from dsn_lightning.paper import literature, paper_table
from dsn_lightning.paper.basis import counts_text, start_text, why_not_comparable
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.tolerant_files import read_json
from reproduce.commands import FINISHED, Command, failure_reason
from reproduce.configurations import Settings, selection_of
from reproduce.estimates import Costs
from reproduce.paper_table import PaperTable, Row
from reproduce.planner import Part, Planner
from reproduce.table_records import Record

Line = Mapping[str, Any]
"""One row of an evaluation's results.json."""


def gather_records(planner: Planner, parts: Sequence[Part], costs: Costs) -> list[Record]:
    """Return the records of all rows of a table, the literature's included, on the data set of its parts.

    Args:
        planner: the table, the wanted rows (others are ``not run``), and the evaluations that are possible.
        parts: one a seed and split.
        costs: counts multiply-adds.
    """
    return _Gathering(planner, parts, costs).records()


class _Gathering:
    def __init__(self, planner: Planner, parts: Sequence[Part], costs: Costs) -> None:
        self.planner, self.table, self.parts, self.costs = planner, planner.table, parts, costs
        self.settings = next(iter(parts[0].settings.values()))
        self.dataset = self.settings.dataset_in_results
        self.commands: dict[tuple[int, int | None, str], Command | None] = {}
        self.lines: dict[tuple[int, int | None, str], list[Line]] = {}
        for part in parts:
            for name in self.table.evaluations:
                key = part.seed, part.split, name
                command = self.commands[key] = planner.possible_evaluation(part, name)
                finished = command is not None and command.state() == FINISHED
                self.lines[key] = _results(command) if command is not None and finished else []

    def records(self) -> list[Record]:
        metrics = self.table.datasets.get(self.settings.dataset.name, next(iter(self.table.datasets.values())))
        return [
            self._record(row, metric) if row.evaluation else _of_literature(self.table, row, self.dataset, metric)
            for row in self.table.rows
            for metric in metrics
        ]

    def _record(self, row: Row, metric: str) -> Record:
        found = self._figures(row, metric)
        by_seed: dict[int, list[Line]] = {}
        for part, line in found:
            by_seed.setdefault(part.seed, []).append(line)
        complete = {s: lines for s, lines in sorted(by_seed.items()) if len(lines) == max(1, len(self.table.splits))}
        status, reason = self._status(row, [part for part, _ in found], num_complete=len(complete))
        commands = [self.commands[part.seed, part.split, str(row.evaluation)] for part, _ in found]
        first_line = found[0][1] if found else None  # costs are the same in all
        first_seed = next((lines for seed, lines in by_seed.items() if seed in complete), None)
        paper = _paper_figures(self.table, row)
        basis, withheld = self._basis(row, found)
        return Record(
            table=self.table.name,
            row=row.name,
            kind="extra" if row.extra else "paper",
            dataset=self.dataset,
            metric=metric,
            paper=_figure(paper, self.table, self.dataset, metric),
            ours=tuple(statistics.fmean(line[metric] for line in lines) for lines in complete.values()),
            seeds=tuple(complete),
            status=status,
            reason=reason,
            network=self._network(row),
            clips=str(first_line["clips"]) if first_line else self._clips(row),
            gmacs=first_line["gmacs"] if first_line else self._gmacs(row),
            paper_gmacs=paper.get("gmacs"),
            videos=sum(line["videos"] for line in first_seed) if first_seed else None,
            evaluations=tuple(str(command.folder) for command in commands if command is not None),
            note=row.extra,
            basis=basis,
            withheld=withheld,
        )

    def _basis(self, row: Row, found: Sequence[tuple[Part, Line]]) -> tuple[str, str]:
        """Return what the figures of a row stand on, and why they cannot be compared with the paper's, if so."""
        commands = [(line, self.commands[part.seed, part.split, str(row.evaluation)]) for part, line in found]
        pairs = [(line, read_json(RunFolder(c.folder).environment_json) or {}) for line, c in commands if c is not None]
        texts = [f"{counts_text(*pair)}; started from {start_text(*pair)}" for pair in pairs if start_text(*pair)]
        withheld = next(filter(None, (why_not_comparable(*pair) for pair in pairs)), "")
        return "; or ".join(dict.fromkeys(texts)), withheld

    def _figures(self, row: Row, metric: str) -> list[tuple[Part, Line]]:
        """Return the parts that have the row's figure, each with its line of results.json."""
        found = []
        for part in self.parts:
            for line in self.lines[part.seed, part.split, str(row.evaluation)]:
                same = line["selection"] == row.selection and line["classifier"] == row.classifier
                if same and row.M in (None, line["M"]) and line[metric] is not None:
                    found.append((part, line))
                    break
        return found

    def _status(self, row: Row, found: Sequence[Part], *, num_complete: int) -> tuple[str, str]:
        """Return a row's status, and the reason if it is not ``run``."""
        if num_complete == len({part.seed for part in self.parts}):
            return "run", ""
        have = {(part.seed, part.split) for part in found}
        missing = [part for part in self.parts if (part.seed, part.split) not in have]
        failures = {self._failure(row, part) for part in missing} - {""}
        reason = "; ".join(sorted(failures)) or ("" if row in self.planner.rows else "not requested")
        status = "partly run" if found else "failed" if failures else "not run"
        return status, reason or "not run yet"

    def _failure(self, row: Row, part: Part) -> str:
        """Return why a part has no figure: the first failed command among those that it needs; empty if none failed."""
        names = [str(row.evaluation), *self.table.evaluations[str(row.evaluation)].fusion]
        runs = [part.trainings[run] for name in names for run in self.table.runs_of(row, name)]
        by_name = {command.name: command for command in part.order}
        needed = [by_name[name] for command in runs for name in command.after if name in by_name] + runs
        evaluations = (self.commands.get((part.seed, part.split, name)) for name in reversed(names))
        for command in [*needed, *(c for c in evaluations if c is not None)]:
            if command.state() == "failed":
                return f"{command.name}: {failure_reason(command.folder)}"
        return ""

    def _settings_of(self, evaluation: str) -> Settings:
        return self.parts[0].settings[self.table.main_run(evaluation)]

    def _gmacs(self, row: Row) -> float | None:
        """Return 10^9 multiply-adds a video, both streams together; None where a cost has no meaning."""
        streams = [self.costs.video(self._settings_of(n), row.selection, row.M) for n in self.table.streams_of(row)]
        known = [cost for cost in streams if cost is not None]
        if not known:
            return None
        return VideoCost(sum(c.classifier for c in known), sum(c.observation for c in known)).total

    def _network(self, row: Row) -> str:
        settings = self._settings_of(self.table.streams_of(row)[0])
        name = settings.backbone.name
        return f"{name} + {settings.observation.name}" if selection_of(row.selection).sampler is not None else name

    def _clips(self, row: Row) -> str:
        settings = self._settings_of(self.table.streams_of(row)[0])
        dense = settings.dataset.reading.dense_clips
        return str(dense if row.selection == "dense" else row.M or settings.test.M[0])


def _results(command: Command) -> list[Line]:
    lines: list[Line] = json.loads(RunFolder(command.folder).results_json.read_text())
    return lines


def _paper_figures(table: PaperTable, row: Row) -> Mapping[str, float]:
    return paper_table(table.number).get(row.name, {}) if table.number is not None and not row.extra else {}


def _of_literature(table: PaperTable, row: Row, dataset: str, metric: str) -> Record:
    assert table.number is not None
    given = literature(table.number)[row.name]
    value = _figure(given, table, dataset, metric)
    return Record(
        table=table.name,
        row=row.name,
        kind="literature",
        dataset=dataset,
        metric=metric,
        paper=None if value is None else float(value),
        status="literature",
        network=given.get("backbone", ""),
        clips=given.get("clips", ""),
        note=", ".join(given[key] for key in ("input", "pretrained") if key in given),
    )


def _figure(figures: Mapping[str, Any], table: PaperTable, dataset: str, metric: str) -> Any:
    """Return the paper's figure for a data set and metric, None if it has none."""
    return figures.get(f"{dataset}/{metric}", figures.get(metric) if dataset in table.datasets else None)
