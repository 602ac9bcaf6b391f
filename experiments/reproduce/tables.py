"""The command line of the paper's tables and figures: runs what is missing, and shows the paper's figures beside ours.

    python experiments/table1.py dataset=hmdb51 dataset.root=DIR [seeds=0,1,2] [jobs=2] [output=DIR] [--dry-run]

Arguments of the table: ``seeds`` (default 0), ``jobs`` run at the same time (default 1), ``output`` (default
outputs/tables), ``rows`` to run some of them (rows='DSN;DSN-f'), ``found_in`` (comma-separated folders with finished
runs that are used as well), ``--dry-run`` (prints the commands and their cost, and runs nothing).
All other arguments are Hydra overrides for every training. They take precedence over those of the rows:
backbone=mobilenet_v2 weights=PATH schedule.max_epochs=8 gives the same rows with another network. The prefix ``flow.``
(flow.schedule.lr=0.002) limits an override to the trainings on optical flow.

Runs are stored in OUTPUT/runs and OUTPUT/evaluations under names that identify their configurations, so that all tables
share them. Tables are written to OUTPUT/<table>, differences between methods, with intervals, to
OUTPUT/<table>/differences (all tables with accuracies, and Fig. 4; one file a split for Table VII).
To continue after an interruption, run the same command again.
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

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.splits import kind_of_videos
from dsn_lightning.files import write_atomically
from dsn_lightning.launch.jobs import run_jobs, start_server
from reproduce.commands import path_below
from reproduce.configurations import PRELOAD, add_plug_ins, check_holds_out
from reproduce.dry_run import show_plan
from reproduce.estimates import Costs
from reproduce.gathering import gather_records
from reproduce.overrides import SEARCH_PATH, check_overrides, plug_in_folders
from reproduce.paper_table import PaperTable
from reproduce.planner import Part, Planner
from reproduce.table_records import Record, bases, from_plain, markdown, reasons, records_csv, text_table

WIDTH = 170  # of tables in files and pipes

TWO_STREAMS = tuple(f"r2plus1d{sampler}{stream}" for sampler in ("_dsn", "") for stream in ("_both", "", "_flow"))
"""Evaluations that Tables V and VI compare, DSN on both streams first."""


@dataclass(frozen=True)
class TableArguments:
    """The command line of a table: its own arguments, and overrides for all trainings."""

    overrides: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    jobs: int = 1
    output: Path = Path("outputs/tables")
    rows: tuple[str, ...] = ()
    found_in: tuple[Path, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True)
class FinishedTable:
    """A table after its commands have run.

    Attributes:
        planner: what was planned for.
        parts: one a seed and split.
        records: the table's figures.
    """

    planner: Planner
    parts: Sequence[Part]
    records: Sequence[Record]

    @property
    def folder(self) -> Path:
        """Where the table is written."""
        return self.planner.output / self.planner.table.name


def parse_arguments(arguments: Sequence[str]) -> TableArguments:
    """Return a command line as `TableArguments`.

    Raises:
        UsageError: seeds or jobs are not numbers.
    """
    given: dict[str, str] = {}
    overrides = []
    words = iter(arguments)
    for argument in words:
        key, _, value = argument.partition("=")
        if key == "--config-dir":
            overrides.append(f"{SEARCH_PATH}['file://{Path(value or next(words, '')).expanduser().absolute()}']")
            continue
        if key in ("seeds", "jobs", "output", "rows", "found_in"):
            given[key] = value
        elif argument != "--dry-run":
            overrides.append(argument)
    try:
        seeds = tuple(dict.fromkeys(int(seed) for seed in given.get("seeds", "0").split(",")))
        jobs = int(given.get("jobs", "1"))
    except ValueError:
        raise UsageError("seeds, jobs: expected whole numbers, such as seeds=0,1,2 jobs=2") from None
    if jobs < 1:
        raise UsageError(f"jobs={jobs}: must be at least 1")
    return TableArguments(
        tuple(overrides),
        seeds,
        jobs,
        Path(given.get("output", "outputs/tables")).absolute(),
        tuple(filter(None, given.get("rows", "").split(";"))),
        tuple(Path(folder).absolute() for folder in filter(None, given.get("found_in", "").split(","))),
        "--dry-run" in arguments,
    )


def main(
    table: PaperTable,
    arguments: Sequence[str] | None = None,
    *,
    draw: Callable[[FinishedTable, Console], None] | None = None,
) -> int:
    """Run a table's command line and return its exit code: 1 when a row failed, 2 for wrong arguments.

    Args:
        table: the table.
        arguments: None takes those of the process.
        draw: draws the figure that goes with the table, when all commands have run.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    return command_line(
        table.name, given, lambda console: _run(table, parse_arguments(given), console, draw), description=__doc__
    )


def command_line(name: str, arguments: Sequence[str], run: Callable[[Console], int], *, description: str | None) -> int:
    """Return the exit code of ``run``; wrong arguments print one line, ``--help`` prints the description."""
    if {"-h", "--help"} & {*arguments}:
        print(description)
        return 0
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    try:
        return run(console)
    except (UsageError, HydraException, OmegaConfBaseException) as error:
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.print("stopped; run the same command again to continue")
        return 130


def _run(
    table: PaperTable,
    arguments: TableArguments,
    console: Console,
    draw: Callable[[FinishedTable, Console], None] | None,
) -> int:
    planner, parts = run_missing(table, arguments, console)
    if arguments.dry_run:
        return 0
    finished = FinishedTable(planner, parts, gather_records(planner, parts, Costs(timed=False)))
    write_table(finished, console)
    if table.compared:
        from reproduce.differences import write_differences  # imports all of the training, which takes seconds

        write_differences(planner, parts, console)
    if draw is not None:
        draw(finished, console)
    return 1 if any(r.status == "failed" or (r.status == "partly run" and r.reason) for r in finished.records) else 0


def run_missing(table: PaperTable, arguments: TableArguments, console: Console) -> tuple[Planner, list[Part]]:
    """Run what is missing for the requested rows, and return the plan; with ``--dry-run`` only show it.

    Raises:
        UsageError: an argument is wrong.
    """
    add_plug_ins(plug_in_folders(arguments.overrides))
    _check(table, arguments)
    rows = [row for row in table.measured_rows if not arguments.rows or row.name in arguments.rows]
    if not arguments.dry_run:
        start_server(at_once=arguments.jobs, preload=PRELOAD)
    planner = Planner(table, arguments.overrides, output=arguments.output, found_in=arguments.found_in, rows=rows)
    parts = [planner.part(seed, split) for split in table.splits or (None,) for seed in arguments.seeds]
    if arguments.dry_run:
        show_plan(planner, parts, console)
        return planner, parts
    dataset = next(iter(parts[0].settings.values())).dataset
    if "root" in dataset.keys and dataset.keys["root"] is None:
        raise UsageError(f"dataset={dataset.name}: set its folder with dataset.root=DIR")
    for settings in (settings for part in parts for settings in part.settings.values()):
        check_holds_out(settings)
    _run_commands(planner, parts, arguments.jobs, console)
    return planner, parts


def _check(table: PaperTable, arguments: TableArguments) -> None:
    check_overrides(table, arguments.overrides)
    known = [row.name for row in table.measured_rows]
    unknown = [name for name in arguments.rows if name not in known]
    if unknown:
        raise UsageError(f"rows={';'.join(unknown)}: unknown; the table's rows are {'; '.join(known)}")
    if not any(o.startswith("dataset=") for o in arguments.overrides) and len(table.datasets) > 1:
        raise UsageError(f"set the data set: dataset={'|'.join(table.datasets)} dataset.root=DIR")


def _run_commands(planner: Planner, parts: Sequence[Part], jobs_at_once: int, console: Console) -> None:
    """Run what is missing: trainings, then evaluations of finished trainings, then fusions of finished evaluations."""
    evaluations = planner.table.evaluations
    trainings = [command.job() for part in parts for command in planner.trainings(part)]
    # jobs are ended, and save what they have
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        run_jobs(trainings, at_once=jobs_at_once, console=console, preload=PRELOAD)
        for fused in (False, True):
            names = [name for name in planner.evaluations() if bool(evaluations[name].fusion) == fused]
            commands = [planner.possible_evaluation(part, name) for part in parts for name in names]
            jobs = {command.digest: command.job() for command in commands if command is not None}
            for job in jobs.values():
                job.after = ()  # what it needs is finished
            if jobs:
                run_jobs(list(jobs.values()), at_once=jobs_at_once, console=console, preload=PRELOAD)
    finally:
        signal.signal(signal.SIGTERM, before)


def write_table(finished: FinishedTable, console: Console) -> None:
    """Store the records of this data set; print and write the table with those of all data sets that are stored."""
    table, output, folder = finished.planner.table, finished.planner.output, finished.folder
    folder.mkdir(parents=True, exist_ok=True)
    plain = [
        record.plain() | {"evaluations": [path_below(name, output) for name in record.evaluations]}
        for record in finished.records
    ]
    write_atomically(folder / f"{finished.records[0].dataset}.json", json.dumps(plain, indent=2) + "\n")
    records = _stored_records(table, folder)
    title = f"{table.title} (rates in %)"
    notes = [*table.notes, *_conditions(records, finished.planner.overrides)]
    text_table(records, title=title).print(console)
    for line in [*reasons(records), *notes]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    write_atomically(folder / "table.json", json.dumps([r.plain() for r in records], indent=2) + "\n")
    write_atomically(folder / "table.csv", records_csv(records))
    write_atomically(folder / "table.md", markdown(records, title=title, notes=notes))
    console.print(f"written: {folder}/table.md, table.csv, table.json", soft_wrap=True)


def _stored_records(table: PaperTable, folder: Path) -> list[Record]:
    """Return the records of all data sets in a table's folder, the table's data sets and rows first and in order."""
    order = [row.name for row in table.rows]
    others = sorted({path.stem for path in folder.glob("*.json")} - {*table.datasets, "table"})
    files = [folder / f"{dataset}.json" for dataset in [*table.datasets, *others]]
    records = [from_plain(line) for file in files if file.is_file() for line in json.loads(file.read_text())]
    return sorted(records, key=lambda r: order.index(r.row) if r.row in order else len(order))


def _conditions(records: Sequence[Record], overrides: Sequence[str]) -> list[str]:
    """Return what ours were measured with: whoever reads a difference must know what differs."""
    lines = []
    for dataset in dict.fromkeys(r.dataset for r in records):
        found = [r for r in records if r.dataset == dataset and r.videos]
        if found:
            seeds = " ".join(map(str, max(found, key=lambda r: len(r.seeds)).seeds))
            lines.append(f"{dataset}: {found[0].videos} {kind_of_videos(dataset)}, seeds {seeds}")
    lines += bases(records)
    if overrides:
        lines.append(f"overrides of the last call: {' '.join(overrides)}")
    return [*lines, *dict.fromkeys(f"{r.row}: {r.note}" for r in records if r.kind == "extra" and r.note)]
