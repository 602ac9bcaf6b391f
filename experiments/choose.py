"""Compares settings on videos that are held out of training, so that no setting is chosen on the test videos.

    python experiments/choose.py dataset=hmdb51 dataset.root=DIR dataset.val_fraction=0.25 [seeds=0,1,2] [jobs=2] \
        [row=DSN] settings="algorithm.exploration=0; algorithm.exploration=0.05; algorithm.exploration=0.1"

Trains what one row of Table I needs with each of the settings and evaluates it on the held-out videos. A semicolon
separates settings, a space the overrides of one setting. The best setting has the highest mean over the seeds of the
data set's metric; among equals, the first. Prints the settings, each with its difference to the first one, and writes
them to OUTPUT/choose/<dataset>_<modality>_<network>_<method>_<keys>.{md,json}. A data set that was made for choosing
(join_videos.py --from training) is evaluated on its test videos: test.subset=test.
More arguments: python experiments/table1.py --help.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.comparison_table import explanation, points
from dsn_lightning.files import write_atomically
from dsn_lightning.text_tables import TextTable
from reproduce.commands import FINISHED
from reproduce.configurations import compare_folders
from reproduce.estimates import Costs
from reproduce.gathering import gather_records
from reproduce.overrides import override_key
from reproduce.paper_table import Row
from reproduce.table_records import reasons
from reproduce.tables import TableArguments, command_line, parse_arguments, run_missing
from table1 import TABLE

HEADINGS = {"top1": "top-1", "map": "mAP"}
EVALUATION = "methods"
_FIXED = ("dataset", "test", "dataset.name", "dataset.root", "dataset.split", "dataset.seed", "dataset.val_fraction")
"""Keys that decide on which videos settings are compared."""


@dataclass(frozen=True)
class Chosen:
    """What settings are compared by.

    Attributes:
        row: row of Table I.
        metric: metric of the data set.
        network: name of the classifier's network.
    """

    row: Row
    metric: str
    network: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 1 when a run failed, 2 for wrong arguments."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return command_line("choose", given, lambda console: _run(given, console), description=__doc__)


def _run(given: Sequence[str], console: Console) -> int:
    settings, row, arguments = _parse(given)
    folders: dict[str, list[Path]] = {}
    chosen = Chosen(row, "top1", "")
    for setting in settings:
        console.print(setting, style="bold", markup=False)
        with_setting = replace(arguments, overrides=(*arguments.overrides, *setting.split()))
        planner, parts = run_missing(TABLE, with_setting, console)
        first = next(iter(parts[0].settings.values()))
        chosen = Chosen(row, TABLE.datasets.get(first.dataset.name, (chosen.metric,))[0], first.backbone.name)
        if arguments.dry_run:
            continue
        evaluations = [planner.possible_evaluation(part, EVALUATION) for part in parts]
        folders[setting] = [c.folder for c in evaluations if c is not None and c.state() == FINISHED]
        if len(folders[setting]) < len(parts):
            failed = f"{setting}: {len(parts) - len(folders[setting])} of {len(parts)} seeds failed"
            records = gather_records(planner, parts, Costs(timed=False))
            for line in [failed, *reasons([record for record in records if record.row == row.name])]:
                console.print(line, soft_wrap=True, markup=False, highlight=False)
            return 1
    if not arguments.dry_run:
        _show(folders, chosen, arguments, console)
    return 0


def _parse(given: Sequence[str]) -> tuple[list[str], Row, TableArguments]:
    """Return the settings, the row and the arguments of its table.

    Raises:
        UsageError: an argument is wrong.
    """
    values = {key: value for key, _, value in (a.partition("=") for a in given) if key in ("settings", "row")}
    rest = [a for a in given if a.partition("=")[0] not in values]
    if any(a.startswith("rows=") for a in rest):
        raise UsageError("rows=: settings are compared by one row; use row=NAME")
    settings = [" ".join(setting.split()) for setting in values.get("settings", "").split(";") if setting.strip()]
    if len({*settings}) < 2 or len({*settings}) < len(settings):
        raise UsageError(
            "settings: needs at least two settings, each once, such as "
            "settings='schedule.max_epochs=4; schedule.max_epochs=8'"
        )
    if not any(a.startswith("test.subset=") for a in rest):
        rest.append("test.subset=val")
    for key in dict.fromkeys(override_key(o) for setting in settings for o in setting.split()):
        if key in _FIXED or key.startswith("test."):
            raise UsageError(f"settings: {key}= decides what is evaluated; pass it once, outside settings=")
    rows = {row.name: row for row in TABLE.rows if row.evaluation == EVALUATION}
    name = values.get("row", "DSN")
    if name not in rows:
        raise UsageError(f"row={name}: unknown; the table's rows are {'; '.join(rows)}")
    return settings, rows[name], replace(parse_arguments(rest), rows=(name,))


def _show(folders: Mapping[str, list[Path]], chosen: Chosen, arguments: TableArguments, console: Console) -> None:
    """Print and write the settings, and which is best.

    Args:
        folders: setting -> its evaluations, one a seed.
        chosen: what they are compared by.
        arguments: of the table.
        console: where they are printed.

    Raises:
        UsageError: the settings were evaluated on different videos.
    """
    lines, statistics = _compared(folders, chosen.row)
    about, selection, classifier = statistics["about"], chosen.row.selection, chosen.row.classifier
    best = max(lines, key=lambda line: line[chosen.metric]["value"])
    seeds = " ".join(map(str, about["seeds"]))
    title = (
        f"{about['dataset']}, {about['modality']}, {about['videos']} videos, seeds {seeds}: {selection} with the "
        f"{classifier}'s classifier, {chosen.network}"
    )
    header = ["setting", *(f"{h} {what}" for h in HEADINGS.values() for what in ("(%)", "less the first"))]
    cells = [[line["setting"], *(cell for key in HEADINGS for cell in _cells(line, key))] for line in lines]
    table = TextTable(header, cells, title=title, fold=True)
    table.print(console)
    notes = [f"best by {HEADINGS[chosen.metric]}: {best['setting']}", explanation(statistics)]
    for note in notes:
        console.print(note, soft_wrap=True, markup=False, highlight=False)
    keys = dict.fromkeys(override_key(o).rpartition(".")[2] for setting in folders for o in setting.split())
    name = f"{about['dataset']}_{about['modality']}_{chosen.network}_{selection}_{'_'.join(keys)}"
    file = arguments.output / "choose" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "dataset": about["dataset"],
        "seeds": about["seeds"],
        "network": chosen.network,
        "overrides": list(arguments.overrides),
        "selection": selection,
        "classifier": classifier,
        "metric": chosen.metric,
        "best": best["setting"],
        "settings": lines,
    }
    write_atomically(Path(f"{file}.json"), json.dumps(content, indent=2) + "\n")
    text = f"{title}\n\n{table.markdown()}\n" + "".join(f"- {note}\n" for note in notes)
    write_atomically(Path(f"{file}.md"), text)
    console.print(f"written: {file}.md, {file}.json", soft_wrap=True)


def _compared(folders: Mapping[str, list[Path]], row: Row) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a line a setting, and the statistics of the last one beside the first."""
    first, statistics = next(iter(folders)), {}
    lines: list[dict[str, Any]] = []
    for setting, evaluations in folders.items():
        statistics = compare_folders(evaluations, others={} if setting == first else {"first": folders[first]})
        videos = statistics["about"]["videos"]
        if lines and videos != lines[0]["videos"]:
            raise UsageError(f"{setting}: expected {lines[0]['videos']} evaluated videos as for {first}, got {videos}")
        lines.append({"setting": setting, "videos": videos, **_figures(statistics, row.selection, row.classifier)})
    return lines, statistics


def _figures(statistics: Mapping[str, Any], selection: str, classifier: str) -> dict[str, Any]:
    """Return a method's estimates, and those of its difference to the first setting's, by metric."""

    def is_method(entry: Mapping[str, Any], classifier: str) -> bool:
        return (entry["selection"], entry["classifier"]) == (selection, classifier)

    method = next(m for m in statistics["methods"] if is_method(m, classifier))
    to_first: dict[str, Any] = next(
        (
            difference
            for difference in statistics["differences"]
            if is_method(difference["method"], classifier) and is_method(difference["other"], f"first:{classifier}")
        ),
        {},
    )
    return {key: method[key] for key in HEADINGS} | {f"{key}_less_first": to_first.get(key) for key in HEADINGS}


def _cells(line: Mapping[str, Any], metric: str) -> list[str]:
    estimate = line[metric]
    if estimate is None:  # top-1 where videos have several labels
        return ["-", "-"]
    spread = "" if estimate["spread"] is None else f" ± {100 * estimate['spread']:.1f}"
    return [f"{100 * estimate['value']:.1f}{spread}", points(line[f"{metric}_less_first"])]


if __name__ == "__main__":
    sys.exit(main())
