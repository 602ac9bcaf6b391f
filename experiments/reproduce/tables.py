"""What experiments/table1.py to table7.py and fig4.py, fig5.py share: run what is missing, and show paper | ours.

    python experiments/table1.py dataset=hmdb51 dataset.root=DIR [seeds=0,1,2] [jobs=2] [output=DIR] [--dry-run]

Own arguments: ``seeds`` (default 0), ``jobs`` at the same time (default 1), ``output`` (default outputs/tables),
``rows`` (some of them: rows='DSN;DSN-f'), ``found_in`` (folders with finished runs to use, comma-separated).
All others are Hydra's overrides of every training, and win over those of the rows: backbone=mobilenet_v2 weights=PATH
schedule.max_epochs=8 gives the same rows with another network. With ``flow.`` before them (flow.schedule.lr=0.002) they
are for the trainings on optical flow alone.

Runs lie in OUTPUT/runs and OUTPUT/evaluations under names that stand for their configurations, so that all tables share
them; tables lie in OUTPUT/<table>, differences between methods, with intervals, in OUTPUT/<table>/differences (Tables
I, II, V and VI, Fig. 4).
The same call goes on where it was stopped.
"""

import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from dsn_lightning.commands import cli
from dsn_lightning.commands.held_out import check_holds_out, evaluated
from dsn_lightning.commands.source import build_source
from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.splits import kind_of_videos
from dsn_lightning.files import write_atomically
from dsn_lightning.launch.jobs import run_jobs, start_server
from reproduce.dry_run import show_plan
from reproduce.estimates import Costs
from reproduce.gathering import records
from reproduce.planner import PaperTable, Part, Planner, Row, check_overrides
from reproduce.records import Record, from_plain, markdown, reasons, rich_table, to_csv

WIDTH = 170  # of tables in files and pipes

TWO_STREAMS = tuple(f"r2plus1d{sampler}{stream}" for sampler in ("_dsn", "") for stream in ("_both", "", "_flow"))
"""Evaluations that Tables V and VI hold against each other, both streams with DSN first."""


@dataclass(frozen=True)
class Asked:
    """The command line: own arguments, and overrides for all trainings."""

    overrides: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    jobs: int = 1
    output: Path = Path("outputs/tables")
    rows: tuple[str, ...] = ()
    found_in: tuple[Path, ...] = ()
    dry_run: bool = False


def asked_for(arguments: Sequence[str]) -> Asked:
    """Return what a command line asks for.

    Raises:
        UsageError: seeds or jobs are no numbers.
    """
    own: dict[str, str] = {}
    overrides = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in ("seeds", "jobs", "output", "rows", "found_in"):
            own[key] = value
        elif argument != "--dry-run":
            overrides.append(argument)
    try:
        seeds = tuple(dict.fromkeys(int(seed) for seed in own.get("seeds", "0").split(",")))
        jobs = int(own.get("jobs", "1"))
    except ValueError:
        raise UsageError("seeds, jobs: must be whole numbers, such as seeds=0,1,2 jobs=2") from None
    if jobs < 1:
        raise UsageError(f"jobs={jobs}: must be at least 1")
    return Asked(
        tuple(overrides), seeds, jobs, Path(own.get("output", "outputs/tables")).absolute(),
        tuple(filter(None, own.get("rows", "").split(";"))),
        tuple(Path(folder).absolute() for folder in filter(None, own.get("found_in", "").split(","))),
        "--dry-run" in arguments,
    )  # fmt: skip


def main(table: PaperTable, arguments: Sequence[str] | None = None, *, also: Callable[..., None] | None = None) -> int:
    """Run a table's command line and return its exit code: 1 when a row has failed, 2 for what makes no sense.

    Args:
        table: which one.
        arguments: None takes those of the process.
        also: called with the asked, the parts, the planner, the records and the console when all has been run: draws a
            figure.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    return commanded(table.name, given, lambda console: _run(table, asked_for(given), console, also), described=__doc__)


def commanded(name: str, arguments: Sequence[str], run: Callable[[Console], int], *, described: str | None) -> int:
    """Return the exit code of ``run``, or of what ended it, said in a line; ``--help`` prints ``described``."""
    if {"-h", "--help"} & {*arguments}:
        print(described)
        return 0

    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    try:
        return run(console)
    except (UsageError, HydraException, OmegaConfBaseException) as error:
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.print("stopped; the same call goes on")
        return 130


def _run(table: PaperTable, asked: Asked, console: Console, also: Callable[..., None] | None) -> int:

    planner, parts, wanted = perform(table, asked, console)
    if asked.dry_run:
        return 0
    made = records(table, planner, parts, Costs(timed=False), rows=wanted)
    show(table, made, asked, console)
    if table.compared:
        compare(table, planner, parts, asked, console)
    if also is not None:
        also(asked, parts, planner, made, console)
    return 1 if any(r.status == "failed" or (r.status == "partly run" and r.reason) for r in made) else 0


def perform(table: PaperTable, asked: Asked, console: Console) -> tuple[Planner, list[Part], list[Row]]:
    """Run what is missing for the rows asked for, and return what was planned; with ``--dry-run`` show the plan alone.

    Raises:
        UsageError: an argument makes no sense.
    """
    check_overrides(table, asked.overrides)
    unknown = [name for name in asked.rows if name not in [row.name for row in table.rows if row.evaluation]]
    if unknown:
        known = "; ".join(row.name for row in table.rows if row.evaluation)
        raise UsageError(f"rows={';'.join(unknown)}: no such row; there are {known}")
    wanted = [row for row in table.rows if row.evaluation and (not asked.rows or row.name in asked.rows)]
    if not any(o.startswith("dataset=") for o in asked.overrides) and len(table.datasets) > 1:
        raise UsageError(f"give the data set: dataset={'|'.join(table.datasets)} dataset.root=DIR")
    if not asked.dry_run:
        start_server(at_once=asked.jobs)
    planner = Planner(table, asked.overrides, output=asked.output, elsewhere=asked.found_in, rows=wanted)
    parts = [planner.part(seed, split) for split in table.splits or (None,) for seed in asked.seeds]
    cfg = next(iter(parts[0].configs.values()))
    if asked.dry_run:
        _show_plan(table, planner, parts, wanted, console)
        return planner, parts, wanted
    if "root" in cfg.dataset and cfg.dataset.root is None:
        raise UsageError(f"dataset={cfg.dataset.name}: give its folder, dataset.root=DIR")
    for part in parts:
        for own in part.configs.values():
            cli.check(own)
            if evaluated(own) == "val":
                check_holds_out(build_source(own.dataset), own)
    _perform(table, planner, parts, wanted, asked, console)
    return planner, parts, wanted


def _perform(
    table: PaperTable, planner: Planner, parts: Sequence[Part], wanted: Sequence[Row], asked: Asked,
    console: Console,
) -> None:  # fmt: skip
    """Run what is missing: trainings, then evaluations of what is trained, then fusions of what is evaluated."""
    names = _evaluations(table, wanted)
    trainings = [command for part in parts for command in planner.trainings(part)]
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # jobs are ended, and save
    try:
        run_jobs([command.job() for command in trainings], at_once=asked.jobs, console=console)
        for fused in (False, True):
            chosen = [name for name in names if bool(table.evaluations[name].fusion) == fused]
            planned = [planner.evaluation(part, name, there=True) for part in parts for name in chosen]
            jobs = {c.digest: c.job() for c in planned if c is not None}
            for job in jobs.values():
                job.after = ()  # what it needs is there
            if jobs:
                run_jobs(list(jobs.values()), at_once=asked.jobs, console=console)
    finally:
        signal.signal(signal.SIGTERM, before)


def _evaluations(table: PaperTable, wanted: Sequence[Row]) -> list[str]:
    """Return the evaluations that rows need, those of single streams first."""
    own = list(dict.fromkeys(str(row.evaluation) for row in wanted))
    streams = [stream for name in own for stream in table.evaluations[name].fusion]
    return sorted(dict.fromkeys([*streams, *own]), key=lambda name: bool(table.evaluations[name].fusion))


def _show_plan(
    table: PaperTable, planner: Planner, parts: Sequence[Part], wanted: Sequence[Row], console: Console
) -> None:

    names = _evaluations(table, wanted)
    show_plan(table, planner, [(part, planner.trainings(part)) for part in parts], names, console)


def show(table: PaperTable, made: Sequence[Record], asked: Asked, console: Console) -> None:
    """Keep the records of this data set, and print and write the table with those of all data sets that are there."""
    folder = asked.output / table.name
    folder.mkdir(parents=True, exist_ok=True)
    plain = [r.plain() | {"evaluations": [_below(name, asked) for name in r.evaluations]} for r in made]
    write_atomically(folder / f"{made[0].dataset}.json", json.dumps(plain, indent=2) + "\n")
    order = [row.name for row in table.rows]
    own: list[Record] = []
    for dataset in [*table.datasets, *sorted({p.stem for p in folder.glob("*.json")} - {*table.datasets, "table"})]:
        file = folder / f"{dataset}.json"
        own += [from_plain(content) for content in json.loads(file.read_text())] if file.is_file() else []
    own.sort(key=lambda r: order.index(r.row) if r.row in order else len(order))
    notes = [*table.notes, *_settings(own, asked)]
    console.print(rich_table(own, title=f"{table.title} (rates in %)"))
    for line in [*reasons(own), *notes]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    write_atomically(folder / "table.json", json.dumps([r.plain() for r in own], indent=2) + "\n")
    write_atomically(folder / "table.csv", to_csv(own))
    write_atomically(folder / "table.md", markdown(own, title=f"{table.title} (rates in %)", notes=notes))
    console.print(f"written: {folder}/table.md, table.csv, table.json", soft_wrap=True)


def _below(folder: str, asked: Asked) -> str:
    """Return the name of a folder, or of several, as seen from the output folder."""
    return folder.replace(f"{asked.output}/", "")


def compare(table: PaperTable, planner: Planner, parts: Sequence[Part], asked: Asked, console: Console) -> None:
    """Print and write how sure the differences between methods are, over the seeds that have the main evaluation.

    Where the main one is of two streams and not there, the next is the main one. Another takes part if all of its seeds
    have it.
    """
    from dsn_lightning.commands.comparing import compare_folders  # imports all of the training, which takes seconds
    from dsn_lightning.evaluation import comparison_table
    from dsn_lightning.evaluation.stored import stored_scores

    there: dict[str, dict[int, Path]] = {}
    for name in table.compared:
        commands = {part.seed: planner.evaluation(part, name, there=True) for part in parts}
        there[name] = {
            s: c.folder for s, c in commands.items()
            if c is not None and c.state() == "there" and stored_scores(c.folder) is not None
        }  # fmt: skip
    found = [name for name in table.compared if there[name]]
    if not found or (found[0] != table.compared[0] and not table.evaluations[table.compared[0]].fusion):
        return
    main_one, *others = found
    seeds = list(there[main_one])
    own = [there[main_one][seed] for seed in seeds]
    beside = {n: [there[n][seed] for seed in seeds] for n in others if {*seeds} <= {*there[n]}}
    try:
        statistics = compare_folders(own, others=beside)
    except UsageError as error:  # of a short training, the control may be the same network as DSN's
        console.print(f"{', '.join(beside)} left out: {error}", soft_wrap=True, markup=False, highlight=False)
        statistics = compare_folders(own)
    statistics["about"]["evaluations"] = [_below(name, asked) for name in statistics["about"]["evaluations"]]
    shown = comparison_table.main_differences(statistics)
    lines = [comparison_table.explanation(statistics), *comparison_table.gap_lines(statistics)]
    if beside or main_one != table.compared[0]:
        lines.append(
            f"a classifier with an evaluation's name before the colon is of that one, others are of {main_one}"
        )
    if shown:
        console.print(comparison_table.rich_differences(statistics, shown, title="differences between methods"))
        for line in lines:
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    file = asked.output / table.name / "differences" / statistics["about"]["dataset"]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file.with_suffix(".json"), json.dumps(statistics, indent=2) + "\n")
    text = comparison_table.markdown_differences(statistics, shown) + "\n" + "".join(f"- {line}\n" for line in lines)
    write_atomically(file.with_suffix(".md"), text)
    console.print(f"written: {file}.md, {file}.json", soft_wrap=True)


def _settings(own: Sequence[Record], asked: Asked) -> list[str]:
    """Say what ours were measured with: whoever reads the difference must know what differs."""
    lines = []
    for dataset in dict.fromkeys(r.dataset for r in own):
        found = [r for r in own if r.dataset == dataset and r.videos]
        if found:
            seeds = " ".join(map(str, max(found, key=lambda r: len(r.seeds)).seeds))
            lines.append(f"{dataset}: {found[0].videos} {kind_of_videos(dataset)}, seeds {seeds}")
    extra = dict.fromkeys(f"{r.row}: {r.note}" for r in own if r.kind == "extra" and r.note)
    if asked.overrides:
        lines.append(f"the last call had {' '.join(asked.overrides)}")
    return [*lines, *extra]
