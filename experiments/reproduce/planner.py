"""From a table to the trainings and evaluations that it needs; results are found again by their configurations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsn_lightning.errors import UsageError
from reproduce.commands import EVALUATE, FINISHED, SHARED, TRAIN, Command, quoted
from reproduce.configurations import (
    Settings,
    fingerprint,
    finished_trainings,
    folder_name,
    max_response_settings,
    settings_of,
    training_fingerprint,
)
from reproduce.overrides import FLOW, OF_ALL_COMMANDS, applicable, is_conditional
from reproduce.paper_table import MAX_RESPONSE, PaperTable, Row


@dataclass(frozen=True)
class Part:
    """What a table needs for one seed and one split.

    Attributes:
        seed: seed of the trainings.
        split: split of the data set; None for the one of ``dataset.split``.
        settings: name of a run -> its settings.
        trainings: name of a run, or `MAX_RESPONSE` -> its command; several runs may share one.
        order: all commands, each once, before those that need them.
    """

    seed: int
    split: int | None
    settings: Mapping[str, Settings]
    trainings: Mapping[str, Command]
    order: tuple[Command, ...]

    @property
    def title(self) -> str:
        """Seed and split, for people."""
        return _title(self.seed, self.split)


class Planner:
    """Plans the parts of a table.

    Args:
        table: the table.
        overrides: overrides of the command line, for all trainings.
        output: folder whose ``runs`` and ``evaluations`` get the results.
        found_in: more folders in which finished trainings are looked for.
        rows: rows that are wanted; None for all.
    """

    def __init__(
        self,
        table: PaperTable,
        overrides: Sequence[str],
        *,
        output: Path,
        found_in: Sequence[Path] = (),
        rows: Sequence[Row] | None = None,
    ) -> None:
        self.table = table
        self.rows = [row for row in (table.rows if rows is None else rows) if row.evaluation]
        self.overrides = tuple(overrides)
        self.output = output
        self.found = finished_trainings([output / "runs", *found_in])
        self.unused = {o for o in self.overrides if is_conditional(o)}

    def compose(self, run: str, values: Mapping[str, int | Path]) -> tuple[list[str], Settings]:
        """Return the arguments and the settings of a run's training, with the overrides that apply to it.

        Args:
            run: name of the run.
            values: key -> value, set besides the overrides.
        """
        experiment, folder = f"experiment={self.table.name}/{run}", f"shared.folder={quoted(self.output / 'runs')}"
        overrides = self._overrides_of(experiment, folder)
        plain = {key: value if isinstance(value, int) else str(value) for key, value in values.items()}
        settings = settings_of(experiment, *overrides, folder, "run_dir=none", values=plain)
        return [experiment, *overrides, *_arguments(values), folder], settings

    def part(self, seed: int, split: int | None) -> Part:
        """Return the trainings of one seed and split.

        Raises:
            UsageError: an override applies to no training of the table.
        """
        trainings = _Trainings(self, seed, split)
        for run in sorted(self.table.runs(), key=lambda run: run == "dsn_fixed"):  # DSN-f needs other runs
            trainings.add_run(run)
        for override in sorted(self.unused):
            which = "flow training" if override.startswith(FLOW) else "algorithm"
            raise UsageError(f"{override}: no {which} of this table has this key")
        return trainings.part()

    def trainings(self, part: Part) -> list[Command]:
        """Return the trainings that the wanted rows need, in an order in which they can be run."""
        runs = {run for row in self.rows for stream in self.table.streams_of(row) for run in self._needed(stream)}
        names = {part.trainings[run].name for run in runs}
        for command in reversed(part.order):
            if command.name in names:
                names |= {*command.after}
        return [command for command in part.order if command.name in names]

    def evaluations(self) -> list[str]:
        """Return the names of the evaluations that the wanted rows need, those of single streams first."""
        names = list(dict.fromkeys(str(row.evaluation) for row in self.rows))
        streams = [stream for name in names for stream in self.table.evaluations[name].fusion]
        return sorted(dict.fromkeys([*streams, *names]), key=lambda name: bool(self.table.evaluations[name].fusion))

    def planned_evaluation(self, part: Part, name: str) -> Command | None:
        """Return an evaluation as it runs once the trainings that the wanted rows need are finished.

        It also has the roles that no wanted row needs and whose training is finished. None if no role is left.
        """
        return self._evaluation(part, name, finished_only=False)

    def possible_evaluation(self, part: Part, name: str) -> Command | None:
        """Return an evaluation of the trainings that are finished; None if there are none."""
        return self._evaluation(part, name, finished_only=True)

    def ranks_by_max_response(self, run: str) -> bool:
        """Tell whether the table evaluates the max-response network that a run starts from."""
        return run == "dsn" and any(MAX_RESPONSE in e.roles.values() for e in self.table.evaluations.values())

    def _overrides_of(self, experiment: str, folder: str) -> list[str]:
        """Return the overrides that apply to an experiment, and mark them as used."""
        given = [o for o in self.overrides if not o.startswith("fusion_weights=")]
        plain = [o for o in given if not is_conditional(o)]
        if len(plain) == len(given):
            return list(dict.fromkeys(given))
        applied = applicable(given, settings_of(experiment, *plain, folder, "run_dir=none"))
        self.unused -= {*applied}
        return [*applied.values()]

    def _needed(self, evaluation: str) -> set[str]:
        """Return the runs of an evaluation that the wanted rows need."""
        rows = [row for row in self.rows if evaluation in self.table.streams_of(row)]
        return {run for row in rows for run in self.table.runs_of(row, evaluation)}

    def _evaluation(self, part: Part, name: str, *, finished_only: bool) -> Command | None:
        evaluation = self.table.evaluations[name]
        if evaluation.fusion:
            return self._fusion(part, name, finished_only=finished_only)
        runs = {role: part.trainings[run] for role, run in evaluation.roles.items()}
        needed = set() if finished_only else self._needed(name)
        runs = {role: c for role, c in runs.items() if evaluation.roles[role] in needed or c.state() == FINISHED}
        if not runs:
            return None
        main = part.settings[self.table.main_run(name)]
        settings = [f"selection=[{','.join(evaluation.selections)}]"]
        test = main.plain["test"]
        tests = [f"test.{key}={_as_override(test[key])}" for key in ("M", "N", "crops", "random_draws")]
        tests += ["test.subset=val"] if main.test.subset == "val" else []
        identity = {
            "runs": {role: command.digest for role, command in runs.items()},
            "settings": [*settings, *tests],
            "dense_clips": main.dataset.reading.dense_clips,
        }
        arguments = [f"{role}={quoted(command.checkpoint)}" for role, command in runs.items()]
        arguments += [*tests, *settings, *(o for o in self.overrides if o.startswith(OF_ALL_COMMANDS))]
        return self._evaluation_command(part, name, arguments, identity, after=list(runs.values()))

    def _fusion(self, part: Part, name: str, *, finished_only: bool) -> Command | None:
        evaluation = self.table.evaluations[name]
        streams = [self._evaluation(part, stream, finished_only=finished_only) for stream in evaluation.fusion]
        known = [s for s in streams if s is not None and (not finished_only or s.state() == FINISHED)]
        if len(known) < len(streams):
            return None
        settings = [f"selection=[{','.join(evaluation.selections)}]"]
        settings += [o for o in self.overrides if o.startswith("fusion_weights=")]
        folders = ",".join(quoted(stream.folder) for stream in known)
        figures = [o for o in self.overrides if o.startswith("test.figures=")]
        identity = {"fusion": [stream.digest for stream in known], "settings": settings}
        return self._evaluation_command(part, name, [f"fusion=[{folders}]", *settings, *figures], identity, after=known)

    def _evaluation_command(
        self, part: Part, name: str, arguments: list[str], identity: dict[str, Any], *, after: Sequence[Command]
    ) -> Command:
        code = fingerprint(identity)
        folder = self.output / "evaluations" / f"{self.table.name}_{name}_seed{part.seed}_{code}"
        names = tuple(command.name for command in after)
        return Command(f"{part.title} evaluate {name}", EVALUATE, tuple(arguments), folder, code, names)


class _Trainings:
    """Collects the trainings of one seed and split, each once: two runs may need the same one."""

    def __init__(self, planner: Planner, seed: int, split: int | None) -> None:
        self.planner = planner
        self.seed, self.split = seed, split
        self.values: dict[str, int | Path] = {"seed": seed}
        if split is not None:
            self.values["dataset.split"] = split
        self.settings: dict[str, Settings] = {}
        self.commands: dict[str, Command] = {}  # by run
        self.by_digest: dict[str, Command] = {}
        self.digests: dict[str, str] = {}  # checkpoint -> digest

    def add_run(self, run: str) -> None:
        """Add a run's training and the trainings that it starts from."""
        arguments, settings = self.planner.compose(run, self.values)
        after: list[str] = []
        algorithm = settings.algorithm
        starts_from_auto = settings.observation.checkpoint == "auto"
        if algorithm.freezes_classifier and settings.classifier.checkpoint == "auto":
            arguments, settings = self.planner.compose(run, self._values_of_dsn_fixed(starts_from_auto))
            after = [self.commands["baseline"].name, self.commands[MAX_RESPONSE].name]
        elif algorithm.has_sampler and (starts_from_auto or self.planner.ranks_by_max_response(run)):
            auto = max_response_settings(settings)
            response = self._add(f"max response of {run}", SHARED, arguments, auto, ())
            if run == "dsn":
                self.commands[MAX_RESPONSE] = response
            if starts_from_auto:
                after = [response.name]
                if str(response.folder.absolute()) != auto.run_dir:  # auto would not look there
                    start = {"observation.checkpoint": response.checkpoint}
                    arguments, settings = self.planner.compose(run, self.values | start)
        self.settings[run] = settings
        self.commands[run] = self._add(run, TRAIN, arguments, settings, after)

    def part(self) -> Part:
        """Return what was collected."""
        return Part(self.seed, self.split, self.settings, self.commands, tuple(self.by_digest.values()))

    def _values_of_dsn_fixed(self, starts_from_auto: bool) -> dict[str, int | Path]:
        """Return the settings of DSN-f: the baseline's classifier, and as many epochs as DSN trains its sampler."""
        dsn = self.settings["dsn"]
        epochs: int = dsn.schedule.max_epochs - dsn.algorithm.warmup_epochs
        values = self.values | {
            "schedule.max_epochs": epochs,
            "classifier.checkpoint": self.commands["baseline"].checkpoint,
        }
        if starts_from_auto:
            values["observation.checkpoint"] = self.commands[MAX_RESPONSE].checkpoint
        return values

    def _add(
        self, name: str, program: str, arguments: Sequence[str], settings: Settings, after: Sequence[str]
    ) -> Command:
        code = training_fingerprint(settings, self.digests)
        if code not in self.by_digest:
            folder = self.planner.found.get(code, self.planner.output / "runs" / _folder_name(settings, code))
            title = f"{_title(self.seed, self.split)} {name}"
            self.by_digest[code] = Command(title, program, tuple(arguments), folder, code, tuple(after))
        self.digests[str(self.by_digest[code].checkpoint)] = code
        return self.by_digest[code]


def _arguments(values: Mapping[str, int | Path]) -> list[str]:
    return [f"{key}={value if isinstance(value, int) else quoted(value)}" for key, value in values.items()]


def _title(seed: int, split: int | None) -> str:
    return f"seed {seed}" + ("" if split is None else f" split {split}")


def _folder_name(settings: Settings, code: str) -> str:
    s = settings
    if not s.algorithm.has_sampler:  # where `auto` looks for shared trainings
        return folder_name(s, code)
    return f"{s.dataset.name}_{s.algorithm.name}_{s.backbone.name}_M{s.M}_N{s.N}_seed{s.seed}_{code}"


def _as_override(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)
