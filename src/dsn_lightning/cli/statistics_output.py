"""The statistics of one evaluation: written to its folder, and their main part printed."""

from pathlib import Path
from typing import Any

from rich.console import Console

from dsn_lightning.evaluation import comparison_table
from dsn_lightning.evaluation.outcomes import StoredEvaluation
from dsn_lightning.evaluation.statistics_file import summary
from dsn_lightning.evaluation.study import Study
from dsn_lightning.files import write_json
from dsn_lightning.runs.run_folder import RunFolder


def write_statistics(evaluation: StoredEvaluation, folder: Path, *, number: int, console: Console) -> dict[str, Any]:
    """Write ``statistics.json`` of an evaluation, print its main part and return it; ``number`` counts resamples."""
    statistics = summary(Study([evaluation], number=number))
    write_json(RunFolder(folder).statistics_json, statistics)
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
