"""Statistics of finished evaluations, with the selection methods that ``conf/`` knows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from rich.console import Console

from dsn_lightning.commands.cli import config_folder
from dsn_lightning.commands.compose import compose_anew
from dsn_lightning.evaluation import comparison_table
from dsn_lightning.evaluation.outcomes import StoredEvaluation
from dsn_lightning.evaluation.statistics_file import compare_runs, summary
from dsn_lightning.evaluation.study import Study
from dsn_lightning.files import write_json
from dsn_lightning.runs import RunFolder
from dsn_lightning.selections import Selection


def known_selections() -> list[Selection]:
    """Return every method of ``conf/selection``."""
    folder = Path(config_folder()) / "selection"
    names = ",".join(sorted(file.stem for file in folder.glob("*.yaml")))
    cfg = compose_anew("evaluate", f"selection=[{names}]")
    return [instantiate(own, _convert_="all") for own in cfg.selection.values()]


def compare_folders(
    folders: Sequence[Path],
    *,
    number: int = 2000,
    seed: int = 0,
    resample_seeds: bool = False,
    others: Mapping[str, Sequence[Path]] | None = None,
) -> dict[str, Any]:
    """Return `compare_runs` of the folders of evaluations, one a seed, by the methods of ``conf/selection``.

    Raises:
        UsageError: a folder cannot be read, or they do not fit each other.
    """
    return compare_runs(
        folders, known_selections(), number=number, seed=seed, resample_seeds=resample_seeds, others=others
    )  # fmt: skip


def write_statistics(evaluation: StoredEvaluation, run_dir: Path, *, number: int, console: Console) -> dict[str, Any]:
    """Write ``statistics.json`` of one evaluation, print its main part and return it.

    Args:
        evaluation: which.
        run_dir: gets the file.
        number: of resamples.
        console: to print on.
    """
    statistics = summary(Study([evaluation], number=number))
    write_json(RunFolder(run_dir).statistics_json, statistics)
    differences = comparison_table.against_references(statistics)
    if differences:
        title = "what choosing clips gains over uniform and dense ones, with the same classifier"
        console.print(comparison_table.differences_table(statistics, differences, title=title).terminal())
    elif statistics["headroom"]:
        title = "headroom: what the best choice of clips could gain over uniform ones"
        console.print(comparison_table.headroom_table(statistics, title=title).terminal())
    lines = [*comparison_table.gap_lines(statistics), *comparison_table.headroom_lines(statistics)]
    for line in [comparison_table.explanation(statistics), *lines] if lines else []:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return statistics
