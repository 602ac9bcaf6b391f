"""Statistics of finished evaluations, with every selection method that the configurations know."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsn_lightning.config.build import build_selections
from dsn_lightning.config.compose import compose_anew, names_in_group, plain
from dsn_lightning.evaluation.statistics_file import compare_runs
from dsn_lightning.selections import Selection


def known_selections() -> list[Selection]:
    """Return every method of ``conf/selection`` and of the plug-ins' folders."""
    names = names_in_group("selection")
    return build_selections(
        plain(compose_anew("evaluate", f"selection=[{','.join(names)}]", "run_dir=none"))["selection"]
    )


def compare_folders(
    folders: Sequence[Path],
    *,
    number: int = 2000,
    seed: int = 0,
    resample_seeds: bool = False,
    others: Mapping[str, Sequence[Path]] | None = None,
) -> dict[str, Any]:
    """Return `compare_runs` of the folders of evaluations, one a seed, with `known_selections`."""
    return compare_runs(
        folders, known_selections(), number=number, seed=seed, resample_seeds=resample_seeds, others=others
    )
