"""Settings held against each other on videos that are held out of training, so that none is chosen on the test videos.

    python experiments/choose.py dataset=hmdb51 dataset.root=DIR dataset.val_fraction=0.25 [seeds=0,1,2] [jobs=2] \
        [row=DSN] settings="algorithm.exploration=0; algorithm.exploration=0.05; algorithm.exploration=0.1"

Trains what one row of Table I needs with each of the settings (; between them, spaces between the overrides of one) and
evaluates it on the held-out videos. Best is the highest mean over the seeds of the data set's metric; the first of
equals. Prints the settings, with the difference of each to the first one, and writes them to
OUTPUT/choose/<dataset>_<modality>_<network>_<method>_<keys>.{md,json}. A data set that was made to choose by
(join_videos.py --from training) has test videos for it: test.subset=test.
More arguments: --help.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dsn_lightning.errors import UsageError
from dsn_lightning.evaluation.comparison_table import explanation, points
from dsn_lightning.files import write_atomically
from reproduce.estimates import Costs
from reproduce.gathering import records
from reproduce.planner import Row
from reproduce.records import reasons
from reproduce.tables import Asked, asked_for, commanded, perform
from table1 import TABLE

HEADINGS = {"top1": "top-1", "map": "mAP"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 1 when a run has failed, 2 for what makes no sense."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return commanded("choose", given, lambda console: _run(given, console), described=__doc__)


def _run(arguments: Sequence[str], console: Console) -> int:
    own = {key: value for key, _, value in (a.partition("=") for a in arguments) if key in ("settings", "row")}
    rest = [a for a in arguments if a.partition("=")[0] not in own]
    if any(a.startswith("rows=") for a in rest):
        raise UsageError("rows=: one row is chosen by; give row=NAME")
    settings = [" ".join(setting.split()) for setting in own.get("settings", "").split(";") if setting.strip()]
    if len({*settings}) < 2 or len({*settings}) < len(settings):
        raise UsageError(
            "give two settings or more, each once: settings='schedule.max_epochs=4; schedule.max_epochs=8'"
        )
    if not any(a.startswith("test.subset=") for a in rest):
        rest.append("test.subset=val")
    for key in dict.fromkeys(_key(o) for setting in settings for o in setting.split()):
        if key in ("dataset", "test", "dataset.name", "dataset.root", "dataset.split", "dataset.seed",
                   "dataset.val_fraction") or key.startswith("test."):  # fmt: skip
            raise UsageError(f"settings: {key}= decides what is evaluated; give it once, beside settings=")
    row = next((r for r in TABLE.rows if r.name == own.get("row", "DSN") and r.evaluation == "methods"), None)
    if row is None:
        known = "; ".join(r.name for r in TABLE.rows if r.evaluation == "methods")
        raise UsageError(f"row={own['row']}: no such row; there are {known}")
    asked = replace(asked_for(rest), rows=(row.name,))

    folders: dict[str, list[Path]] = {}
    metric, network = "top1", ""
    for setting in settings:
        console.print(f"{setting}", style="bold")
        told = replace(asked, overrides=(*asked.overrides, *setting.split()))
        planner, parts, _ = perform(TABLE, told, console)
        cfg = next(iter(parts[0].configs.values()))
        metric, network = TABLE.datasets.get(cfg.dataset.name, (metric,))[0], cfg.backbone.name
        if asked.dry_run:
            continue
        evaluations = [planner.evaluation(part, "methods", there=True) for part in parts]
        folders[setting] = [c.folder for c in evaluations if c is not None and c.state() == "there"]
        if len(folders[setting]) < len(parts):
            console.print(f"{setting}: {len(parts) - len(folders[setting])} of {len(parts)} seeds have failed")
            made = records(TABLE, planner, parts, Costs(timed=False), rows=[row])
            for line in reasons([own for own in made if own.row == row.name]):
                console.print(line, soft_wrap=True, markup=False, highlight=False)
            return 1
    if not asked.dry_run:
        _show(folders, row, metric, network, asked, console)
    return 0


def _show(folders: dict[str, list[Path]], row: Row, metric: str, network: str, asked: Asked, console: Console) -> None:
    """Print and write the settings, and which is best."""
    from dsn_lightning.commands.comparing import compare_folders  # imports all of the training, which takes seconds

    selection, classifier = row.selection, row.classifier
    first, statistics = next(iter(folders)), {}
    lines: list[dict[str, Any]] = []
    for setting, own in folders.items():
        beside = {} if setting == first else {"first": folders[first]}
        statistics = compare_folders(own, others=beside)
        if lines and statistics["about"]["videos"] != lines[0]["videos"]:
            raise UsageError(f"{setting}: was evaluated on {statistics['about']['videos']} videos, {first} on others")
        lines.append(
            {"setting": setting, "videos": statistics["about"]["videos"], **_figures(statistics, selection, classifier)}
        )
    about = statistics["about"]
    best = max(lines, key=lambda line: line[metric]["value"])
    header = ["setting", *(f"{h} {what}" for h in HEADINGS.values() for what in ("(%)", "less the first"))]
    cells = [[line["setting"], *(cell for key in HEADINGS for cell in _cells(line, key))] for line in lines]
    where = (
        f"{about['dataset']}, {about['modality']}, {about['videos']} videos, seeds {' '.join(map(str, about['seeds']))}"
    )
    title = f"{where}: {selection} with the {classifier}'s classifier, {network}"
    table = Table(*header, title=title, title_justify="left")
    for line in cells:
        table.add_row(*line)
    console.print(table)
    notes = [f"best by {HEADINGS[metric]}: {best['setting']}", explanation(statistics)]
    for note in notes:
        console.print(note, soft_wrap=True, markup=False, highlight=False)
    keys = dict.fromkeys(_key(o).rpartition(".")[2] for setting in folders for o in setting.split())
    file = asked.output / "choose" / f"{about['dataset']}_{about['modality']}_{network}_{selection}_{'_'.join(keys)}"
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "dataset": about["dataset"], "seeds": about["seeds"], "network": network, "overrides": list(asked.overrides),
        "selection": selection, "classifier": classifier, "metric": metric, "best": best["setting"], "settings": lines,
    }  # fmt: skip
    write_atomically(Path(f"{file}.json"), json.dumps(content, indent=2) + "\n")
    rules = [["---"] + ["---:"] * (len(header) - 1)]
    text = "".join(f"| {' | '.join(line)} |\n" for line in [header, *rules, *cells])
    write_atomically(Path(f"{file}.md"), f"{title}\n\n{text}\n" + "".join(f"- {note}\n" for note in notes))
    console.print(f"written: {file}.md, {file}.json", soft_wrap=True)


def _figures(statistics: dict[str, Any], selection: str, classifier: str) -> dict[str, Any]:
    """Return a row's estimates, and those of its difference to the first setting's, by metric."""
    method = next(m for m in statistics["methods"] if (m["selection"], m["classifier"]) == (selection, classifier))
    less: dict[str, Any] = next(
        (d for d in statistics["differences"]
         if (d["method"]["selection"], d["method"]["classifier"]) == (selection, classifier)
         and (d["other"]["selection"], d["other"]["classifier"]) == (selection, f"first:{classifier}")), {},
    )  # fmt: skip
    return {key: method[key] for key in HEADINGS} | {f"{key}_less_first": less.get(key) for key in HEADINGS}


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _cells(line: dict[str, Any], metric: str) -> list[str]:
    if line[metric] is None:  # top-1 where videos have several labels
        return ["-", "-"]
    own, spread = line[metric], line[metric]["spread"]
    rate = f"{100 * own['value']:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")
    return [rate, points(line[f"{metric}_less_first"])]


if __name__ == "__main__":
    sys.exit(main())
