"""How large and how certain the differences between methods are, over several evaluations of the same test videos.

    python experiments/compare.py DIR... [--beside control=DIR,DIR,...] [--output DIR] [--resamples 2000]
        [--resample-seeds] [--all] [--config-dir DIR]

DIR is the folder of an evaluation (dsn-evaluate, or a run of dsn-train), one a seed. Prints the differences between
methods with intervals from one bootstrap over the videos for all methods and seeds, the shares of the
uniform-to-oracle gap, and the headroom; those of classifiers at chance are left out. --beside compares them with
another training's evaluations, one for each DIR in the same order; its classifiers are then named control:dsn and so
on. --config-dir is needed for methods of plug-ins. --output also writes statistics.json (its fields are described in
dsn_lightning/evaluation/statistics_file.py), statistics.md and classes.png.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="evaluations, one a seed")
    parser.add_argument("--beside", action="append", default=[], metavar="NAME=DIR,DIR", help="of another training")
    parser.add_argument("--output", type=Path, help="folder for statistics.json, statistics.md and classes.png")
    parser.add_argument("--resamples", type=int, default=2000, help="of the test videos (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples (default: 0)")
    parser.add_argument("--resample-seeds", action="store_true", help="draw the trainings' seeds with replacement too")
    parser.add_argument("--all", action="store_true", help="show every pair of methods, not only the main ones")
    plug_ins = "folder with the configurations of plug-ins"
    parser.add_argument("--config-dir", action="append", default=[], metavar="DIR", help=plug_ins)
    arguments = parser.parse_args()
    if arguments.resamples < 100:
        parser.error(f"--resamples {arguments.resamples}: an interval needs at least 100")

    others: dict[str, list[Path]] = {}
    for given in arguments.beside:
        name, _, listed = given.partition("=")
        if not name.isidentifier() or not listed or name in others:
            parser.error(f"--beside {given}: expected NAME=DIR,DIR,..., with a different word as NAME each time")
        others[name] = [Path(folder) for folder in listed.split(",")]

    from dsn_lightning.errors import UsageError  # these import all of the training, which takes seconds
    from reproduce.configurations import add_plug_ins, compare_folders

    add_plug_ins(arguments.config_dir)
    try:
        statistics = compare_folders(
            arguments.folders,
            number=arguments.resamples,
            seed=arguments.seed,
            resample_seeds=arguments.resample_seeds,
            others=others,
        )
    except UsageError as error:
        parser.error(str(error))
    _show(statistics, arguments.output, every_pair=arguments.all)
    return 0


def _show(statistics: dict[str, Any], output: Path | None, *, every_pair: bool) -> None:
    """Print the differences, and write them to ``output`` if it is given."""
    from dsn_lightning.evaluation import comparison_table

    console = Console(width=None if sys.stdout.isatty() else 170)
    about, findings = statistics["about"], comparison_table.above_chance(statistics)
    shown = findings["differences"] if every_pair else comparison_table.main_differences(findings)
    title = f"{about['dataset']}, seeds {', '.join(map(str, about['seeds']))}: differences between methods"
    differences = comparison_table.differences_table(statistics, shown, title=title)
    if shown:
        differences.print(console)
    if findings["headroom"]:
        headroom = comparison_table.headroom_table(findings, title="headroom: gains over uniform clips")
        headroom.print(console)
    lines = [
        *comparison_table.warning_lines(statistics),
        comparison_table.explanation(statistics),
        *(f"left out: {reason}" for reason in about["left_out"]),
        *comparison_table.gap_lines(findings),
        *comparison_table.headroom_lines(findings),
    ]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if output is not None:
        text = f"{title}\n\n{differences.markdown() if shown else ''}\n"
        _write(statistics, text, lines, output)
        console.print(f"written: {output}/statistics.json, statistics.md, classes.png")


def _write(statistics: dict[str, Any], text: str, lines: Sequence[str], output: Path) -> None:
    from dsn_lightning.evaluation.comparison_table import above_chance
    from dsn_lightning.evaluation.figures import class_figure
    from dsn_lightning.files import write_atomically, write_json

    write_json(output / "statistics.json", statistics)
    write_atomically(output / "statistics.md", text + "".join(f"- {line}\n" for line in lines))
    class_figure(above_chance(statistics), output / "classes.png")


if __name__ == "__main__":
    sys.exit(main())
