"""Statistics of finished evaluations, with every selection method that the configurations know."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsn_lightning.config.build import build_selections
from dsn_lightning.config.compose import compose_anew, names_in_group, plain
from dsn_lightning.evaluation.statistics_file import compare_runs
from dsn_lightning.selections import Selection


def known_selections() -> list[Selection]:
    """Return every method of ``conf/selection`` and of the plug-ins' folders."""
    every = f"selection=[{','.join(names_in_group('selection'))}]"
    return build_selections(plain(compose_anew("evaluate", every, "run_dir=none"))["selection"])


def compare_folders(folders: Sequence[Path], **options: Any) -> dict[str, Any]:
    """Return `compare_runs` of the folders of evaluations, one a seed, with `known_selections` and its ``options``."""
    return compare_runs(folders, known_selections(), **options)
