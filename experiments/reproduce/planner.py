"""From a table's definition to the trainings and evaluations that it needs, found again by their configurations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dsn_lightning.commands import shared
from dsn_lightning.commands.compose import compose_anew
from dsn_lightning.commands.held_out import evaluated
from dsn_lightning.commands.identity import finished_trainings, training_digest
from dsn_lightning.commands.networks import modality
from dsn_lightning.errors import UsageError
from reproduce.commands import EVALUATE, SHARED, TRAIN, Command, quoted

MAX_RESPONSE = "max_response"
"""Stands in an `Evaluation` for the network that the run named ``dsn`` starts its sampler from."""

FLOW = "flow."
"""What stands before an override that is for the trainings on flow alone."""

_OF_TESTS = ("num_workers=", "start_workers=", "trust=", "test.figures=")  # what dsn-evaluate is told as well


@dataclass(frozen=True)
class Evaluation:
    """One call of dsn-evaluate.

    Attributes:
        roles: ``checkpoint``, ``baseline``, ``dsn_fixed``, ``max_response`` -> name of a run: a file in
            ``conf/experiment/<table>``, or `MAX_RESPONSE`. The first one's configuration has the test's M and N.
        selections: methods of selection; files in ``conf/selection``.
        fusion: names of two evaluations of which this is the two-stream one; it has no roles then.
    """

    roles: Mapping[str, str] = field(default_factory=dict)
    selections: tuple[str, ...] = ()
    fusion: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: the paper's name for it, as in ``dsn_lightning.paper``.
        evaluation: which one it is read from; None for another system's row.
        selection: whose results; ``classifier``: whose classifier answers.
        M: sections in the test, where the evaluation has several.
        extra: what it is for, if the paper has no such row.
    """

    name: str
    evaluation: str | None = None
    selection: str = ""
    classifier: str = "baseline"
    M: int | None = None
    extra: str = ""


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper, or the table behind a figure.

    Attributes:
        name: of its folder in ``conf/experiment``: table1, fig4.
        title: a line.
        datasets: the paper's, in its order -> metrics shown: top1, top5, map.
        rows: in the paper's order.
        evaluations: by name.
        number: in ``dsn_lightning.paper``; None if that has no figures of it.
        splits: whose results are averaged; empty: the one of ``dataset.split``.
        notes: lines below it.
        why_not_run: what the paper's own setting needs that is not at hand.
        compared: evaluations whose methods are held against each other over the seeds, the main one first.
    """

    name: str
    title: str
    datasets: Mapping[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    evaluations: Mapping[str, Evaluation]
    number: int | None = None
    splits: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    why_not_run: str = ""
    compared: tuple[str, ...] = ()

    def streams_of(self, row: Row) -> tuple[str, ...]:
        """Return the evaluations that a row is made of: its own, or those of both streams."""
        name = str(row.evaluation)
        return self.evaluations[name].fusion or (name,)

    def runs_of(self, row: Row, evaluation: str) -> list[str]:
        """Return the runs of an evaluation that a row cannot do without."""
        roles = self.evaluations[evaluation].roles
        wanted = ("checkpoint" if name == "dsn" else name for name in sorted({row.classifier, row.selection}))
        return [roles[role] for role in wanted if role in roles] or list(roles.values())


@dataclass(frozen=True)
class Part:
    """What a table needs for one seed and one split.

    Attributes:
        configs: name of a run -> its configuration.
        trainings: name of a run, or `MAX_RESPONSE` -> its command; several runs may have one and the same.
        order: all commands, each once, before those that need them.
    """

    seed: int
    split: int | None
    configs: Mapping[str, DictConfig]
    trainings: Mapping[str, Command]
    order: tuple[Command, ...]


class Planner:
    """Plans a table's parts.

    Args:
        table: what is wanted.
        overrides: of the command line, for all trainings.
        output: folder whose ``runs`` and ``evaluations`` get the results.
        elsewhere: folders in which finished trainings may be found, too.
        rows: those that are wanted; None for all.
    """

    def __init__(
        self, table: PaperTable, overrides: Sequence[str], *, output: Path, elsewhere: Sequence[Path] = (),
        rows: Sequence[Row] | None = None,
    ) -> None:  # fmt: skip
        self.table = table
        self.rows = [row for row in (table.rows if rows is None else rows) if row.evaluation]
        self.overrides = tuple(overrides)
        self.output = output
        self.found = finished_trainings([output / "runs", *elsewhere])
        self.of_some = [o for o in overrides if o.startswith(("algorithm.", FLOW))]
        self.unused = {*self.of_some}

    def compose(self, run: str, values: Mapping[str, int | Path]) -> tuple[list[str], DictConfig]:
        """Return the arguments of a run's training, and its configuration, with ``values`` besides the overrides.

        Overrides of ``algorithm.*`` are left out where the run's algorithm has no such key, and those of ``flow.*``
        where it is not on flow; where it is, they stand in place of the others of the same key or below it.
        """
        experiment, folder = f"experiment={self.table.name}/{run}", f"shared.folder={quoted(self.output / 'runs')}"
        given = {o: o for o in self.overrides if not o.startswith(("fusion_weights=", FLOW))}
        if self.of_some:
            plain = [o for o in given if not o.startswith("algorithm.")]
            cfg = compose_anew("train", experiment, *plain, folder, "run_dir=none")
            if modality(cfg) == "flow":
                of_flow = {o: o.removeprefix(FLOW) for o in self.overrides if o.startswith(FLOW)}
                keys = [_key(o) for o in of_flow.values()]
                given = {o: o for o in given if not any(f"{_key(o)}.".startswith(f"{k}.") for k in keys)} | of_flow
            given = {
                as_given: o for as_given, o in given.items()
                if not o.startswith("algorithm.") or _key(o).removeprefix("algorithm.") in cfg.algorithm
            }  # fmt: skip
            self.unused -= {*given}
        cfg = compose_anew("train", experiment, *given.values(), folder, "run_dir=none")
        for key, value in values.items():  # composing takes far longer, and the rest is the same for all seeds
            OmegaConf.update(cfg, key, value if isinstance(value, int) else str(value))
        more = [f"{key}={value if isinstance(value, int) else quoted(value)}" for key, value in values.items()]
        return [experiment, *given.values(), *more, folder], cfg

    def part(self, seed: int, split: int | None) -> Part:
        """Return the trainings of one seed and split."""
        asked: dict[str, int | Path] = {"seed": seed}
        if split is not None:
            asked["dataset.split"] = split
        title = f"seed {seed}" + ("" if split is None else f" split {split}")
        configs: dict[str, DictConfig] = {}
        trainings: dict[str, Command] = {}
        order: dict[str, Command] = {}  # by digest: two rows may need one training
        known: dict[str, str] = {}

        def add(name: str, program: str, arguments: Sequence[str], cfg: DictConfig, after: Sequence[str]) -> Command:
            digest = training_digest(cfg, known)
            if digest not in order:
                folder = self.found.get(digest, self.output / "runs" / _folder_name(cfg, digest))
                order[digest] = Command(f"{title} {name}", program, tuple(arguments), folder, digest, tuple(after))
            known[str(checkpoint(order[digest]))] = digest
            return order[digest]

        names = dict.fromkeys(n for e in self.table.evaluations.values() for n in e.roles.values() if n != MAX_RESPONSE)
        for name in sorted(names, key=lambda name: name == "dsn_fixed"):  # it needs others of the same table
            arguments, cfg = self.compose(name, asked)
            after = []
            if cfg.algorithm.name == "dsn_fixed" and cfg.classifier.checkpoint == "auto":
                dsn = configs["dsn"]
                epochs = dsn.schedule.max_epochs - dsn.algorithm.warmup_epochs
                own = asked | {
                    "schedule.max_epochs": epochs,
                    "classifier.checkpoint": checkpoint(trainings["baseline"]),
                }
                if cfg.observation.checkpoint == "auto":
                    own["observation.checkpoint"] = checkpoint(trainings[MAX_RESPONSE])
                arguments, cfg = self.compose(name, own)
                after = [trainings["baseline"].name, trainings[MAX_RESPONSE].name]
            elif cfg.algorithm.name == "dsn" and (cfg.observation.checkpoint == "auto" or self._ranks(name)):
                theirs = shared.configuration(cfg, "max_response")
                response = add(f"max response of {name}", SHARED, arguments, theirs, ())
                if name == "dsn":
                    trainings[MAX_RESPONSE] = response
                if cfg.observation.checkpoint == "auto":
                    after = [response.name]
                    if str(response.folder.absolute()) != theirs.run_dir:  # auto would not look there
                        arguments, cfg = self.compose(name, asked | {"observation.checkpoint": checkpoint(response)})
            configs[name] = cfg
            trainings[name] = add(name, TRAIN, arguments, cfg, after)
        for override in sorted(self.unused):
            whose = "training on flow" if override.startswith(FLOW) else "algorithm"
            raise UsageError(f"{override}: no {whose} of this table has such a key")
        return Part(seed, split, configs, trainings, tuple(order.values()))

    def needed(self, evaluation: str) -> set[str]:
        """Return the runs of an evaluation that the wanted rows need."""
        rows = [row for row in self.rows if evaluation in self.table.streams_of(row)]
        return {run for row in rows for run in self.table.runs_of(row, evaluation)}

    def trainings(self, part: Part) -> list[Command]:
        """Return the trainings that the wanted rows need, in an order in which they can be run."""
        runs = {run for row in self.rows for stream in self.table.streams_of(row) for run in self.needed(stream)}
        names = {part.trainings[run].name for run in runs}
        for command in reversed(part.order):
            if command.name in names:
                names |= {*command.after}
        return [command for command in part.order if command.name in names]

    def _ranks(self, name: str) -> bool:
        return name == "dsn" and any(MAX_RESPONSE in e.roles.values() for e in self.table.evaluations.values())

    def evaluation(self, part: Part, name: str, *, there: bool) -> Command | None:
        """Return an evaluation's command; None if it cannot be had.

        Args:
            part: whose.
            name: of the evaluation.
            there: leave out roles whose training is not finished; otherwise those that no wanted row needs.
        """
        own = self.table.evaluations[name]
        title = f"seed {part.seed}" + ("" if part.split is None else f" split {part.split}") + f" evaluate {name}"
        selection = f"selection=[{','.join(own.selections)}]"
        if own.fusion:
            streams = [self.evaluation(part, stream, there=there) for stream in own.fusion]
            known = [s for s in streams if s is not None and (not there or s.state() == "there")]
            if len(known) < len(streams):
                return None
            weights = [o for o in self.overrides if o.startswith("fusion_weights=")]
            digest = shared.digest({"fusion": [s.digest for s in known], "own": [selection, *weights]})
            folders = ",".join(quoted(s.folder) for s in known)
            figures = [o for o in self.overrides if o.startswith("test.figures=")]
            arguments = [f"fusion=[{folders}]", selection, *weights, *figures]
            folder = self.output / "evaluations" / f"{self.table.name}_{name}_seed{part.seed}_{digest}"
            return Command(title, EVALUATE, tuple(arguments), folder, digest, tuple(s.name for s in known))
        runs = {role: part.trainings[run] for role, run in own.roles.items()}
        needed = set() if there else self.needed(name)
        runs = {role: c for role, c in runs.items() if own.roles[role] in needed or c.state() == "there"}
        if not runs:
            return None
        cfg = part.configs[next(iter(own.roles.values()))]
        tests = [f"test.{key}={_as_override(cfg.test[key])}" for key in ("M", "N", "crops", "random_draws")]
        tests += ["test.subset=val"] if evaluated(cfg) == "val" else []
        digest = shared.digest({
            "runs": {role: command.digest for role, command in runs.items()},
            "own": [selection, *tests], "dense_clips": cfg.dataset.reading.dense_clips,
        })  # fmt: skip
        arguments = [f"{role}={quoted(checkpoint(command))}" for role, command in runs.items()]
        arguments += [*tests, selection, *(o for o in self.overrides if o.startswith(_OF_TESTS))]
        folder = self.output / "evaluations" / f"{self.table.name}_{name}_seed{part.seed}_{digest}"
        return Command(title, EVALUATE, tuple(arguments), folder, digest, tuple(c.name for c in runs.values()))


def checkpoint(command: Command) -> Path:
    """Return the checkpoint that a training ends with."""
    return (command.folder / "checkpoints" / "last.ckpt").absolute()


def _folder_name(cfg: DictConfig, digest: str) -> str:
    if cfg.algorithm.name == "baseline":  # where shared trainings look for it
        return shared.folder_name(cfg, digest)
    return f"{cfg.dataset.name}_{cfg.algorithm.name}_{cfg.backbone.name}_M{cfg.M}_N{cfg.N}_seed{cfg.seed}_{digest}"


def _key(override: str) -> str:
    """Return what an override sets."""
    return override.lstrip("+~").partition("=")[0]


def _as_override(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if OmegaConf.is_list(value) else str(value)


def check_overrides(table: PaperTable, overrides: Sequence[str]) -> None:
    """Refuse overrides that a table sets itself.

    Raises:
        UsageError: names the key and the remedy.
    """
    own = {
        "seed": "use seeds=0,1,2", "experiment": "the table names its own", "selection": "the table names its own",
        "algorithm": "the table names its own", "run_dir": "use output=DIR", "hydra.run.dir": "use output=DIR",
        "shared.folder": "use output=DIR", "test.enabled": "the table is evaluated by dsn-evaluate",
    }  # fmt: skip
    if table.splits:
        own["dataset.split"] = f"the table is the mean over splits {', '.join(map(str, table.splits))}"
    for override in overrides:
        key, is_assignment = _key(override.removeprefix(FLOW)), "=" in override
        if not is_assignment:
            raise UsageError(f"{override}: must be KEY=VALUE, or --dry-run")
        if override.lstrip("+~").startswith(FLOW) and not override.startswith(FLOW):
            raise UsageError(f"{override}: write {FLOW} first, as in flow.+KEY=VALUE")
        if override.startswith(FLOW) and f"{key}=".startswith(_OF_TESTS):
            raise UsageError(f"{override}: is for all runs; give {override.removeprefix(FLOW)}")
        if key in own:
            raise UsageError(f"{override}: cannot be given to a table; {own[key]}")
