"""How sure the differences between methods are, over several evaluations (seeds) of the same test videos.

    python experiments/compare.py DIR... [--beside control=DIR,DIR,...] [--output DIR] [--resamples 2000]
        [--resample-seeds] [--all]

DIR is the folder of an evaluation (dsn-evaluate, or a run of dsn-train), one a seed. Prints the differences between
methods with intervals from one bootstrap over the videos for all methods and seeds, the shares of the
uniform-to-oracle gap and the headroom. --beside holds another training's evaluations against them, one for each DIR in
the same order; its classifiers are then named control:dsn and so on. With --output it also writes statistics.json (its
fields are described in dsn_lightning/evaluation/statistics_file.py), statistics.md and classes.png.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="evaluations, one a seed")
    parser.add_argument("--beside", action="append", default=[], metavar="NAME=DIR,DIR", help="another training's")
    parser.add_argument("--output", type=Path, help="writes statistics.json and so on there")
    parser.add_argument("--resamples", type=int, default=2000, help="of the test videos (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples (default: 0)")
    parser.add_argument("--resample-seeds", action="store_true", help="draw the trainings' seeds with replacement too")
    parser.add_argument("--all", action="store_true", help="show every pair of methods, not the main ones alone")
    arguments = parser.parse_args()
    if arguments.resamples < 100:
        parser.error(f"--resamples {arguments.resamples}: the ends of an interval need at least 100")

    others = {}
    for given in arguments.beside:
        name, _, listed = given.partition("=")
        if not name.isidentifier() or not listed or name in others:
            parser.error(f"--beside {given}: must be NAME=DIR,DIR,..., each NAME a word of its own")
        others[name] = [Path(folder) for folder in listed.split(",")]

    from dsn_lightning.commands.comparing import compare_folders
    from dsn_lightning.commands.run import write_json
    from dsn_lightning.errors import UsageError
    from dsn_lightning.evaluation import comparison_table
    from dsn_lightning.evaluation.figures import class_figure
    from dsn_lightning.files import write_atomically

    console = Console(width=None if sys.stdout.isatty() else 170)
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
    about = statistics["about"]
    shown = statistics["differences"] if arguments.all else comparison_table.main_differences(statistics)
    title = f"{about['dataset']}, seeds {', '.join(map(str, about['seeds']))}: differences between methods"
    if shown:
        console.print(comparison_table.rich_differences(statistics, shown, title=title))
    if statistics["headroom"]:
        console.print(comparison_table.headroom_table(statistics, title="headroom: gains over uniform clips"))
    lines = [
        comparison_table.explanation(statistics),
        *(f"left out: {reason}" for reason in about["left_out"]),
        *comparison_table.gap_lines(statistics),
        *comparison_table.headroom_lines(statistics),
    ]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if arguments.output is not None:
        write_json(arguments.output / "statistics.json", statistics)
        table = comparison_table.markdown_differences(statistics, shown)
        text = f"{title}\n\n{table}\n" + "".join(f"- {line}\n" for line in lines)
        write_atomically(arguments.output / "statistics.md", text)
        class_figure(statistics, arguments.output / "classes.png")
        console.print(f"written: {arguments.output}/statistics.json, statistics.md, classes.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
