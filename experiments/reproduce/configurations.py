"""All that the experiments use of the package's settings and command line, in one place.

Everything that imports the training, which takes seconds, is imported where it is called.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsn_lightning.cli import PRELOAD
from dsn_lightning.config.compose import add_plug_ins, compose_anew, plain, settings_of
from dsn_lightning.config.settings import Settings
from dsn_lightning.config.shared_trainings import (
    fingerprint,
    finished_trainings,
    folder_name,
    is_trained,
    shared_settings,
    train_once,
    training_fingerprint,
)
from dsn_lightning.selections import MaxResponse

if TYPE_CHECKING:
    from dsn_lightning.data.datamodule import SectionClipDataModule
    from dsn_lightning.datasets import VideoSource
    from dsn_lightning.selections import Selection

__all__ = [
    "PRELOAD",
    "Settings",
    "add_plug_ins",
    "build_datamodule",
    "build_source",
    "check_holds_out",
    "compare_folders",
    "evaluate",
    "fingerprint",
    "finished_trainings",
    "folder_name",
    "is_trained",
    "max_response_settings",
    "run_command",
    "selection_of",
    "selections_of",
    "settings_of",
    "train",
    "train_max_response",
    "training_fingerprint",
]


def max_response_settings(settings: Settings) -> Settings:
    """Return the training of the max-response network that ``observation.checkpoint=auto`` stands for."""
    return shared_settings(settings, MaxResponse.name)


def run_command(program: str, arguments: Sequence[str]) -> None:
    """Run ``dsn-train`` or ``dsn-evaluate`` in this process.

    Raises:
        SystemExit: as the command does.
    """
    from dsn_lightning.cli import evaluate, train

    {"dsn-train": train.main, "dsn-evaluate": evaluate.main}[program](arguments)


def train_max_response(settings: Settings) -> None:
    """Train the max-response network that a training starts from, unless it is finished.

    Raises:
        SystemExit: with code 2 when a setting is wrong.
    """
    from dsn_lightning.cli.application import one_line_errors

    with one_line_errors("dsn-train"):
        train_once(max_response_settings(settings), train)


def train(settings: Settings) -> None:
    """Run a training."""
    from dsn_lightning.cli.train_recipe import train

    train(settings)


def evaluate(*overrides: str) -> None:
    """Run an evaluation with the overrides of dsn-evaluate."""
    from dsn_lightning.cli.evaluate_recipe import evaluate
    from dsn_lightning.config.evaluation_settings import EvaluationSettings

    evaluate(EvaluationSettings.of(plain(compose_anew("evaluate", *overrides))))


def build_source(settings: Settings) -> "VideoSource":
    """Return the data set of some settings."""
    from dsn_lightning.config.build_part import build_source

    return build_source(settings.dataset)


def build_datamodule(settings: Settings) -> "SectionClipDataModule":
    """Return the data module of some settings."""
    from dsn_lightning.config.build import build_datamodule

    return build_datamodule(settings)


def check_holds_out(settings: Settings) -> None:
    """Refuse a data set without the videos that ``test.subset=val`` is to evaluate on.

    Raises:
        UsageError: it has no held-out videos.
    """
    from dsn_lightning.config.build import check_holds_out

    if settings.test.subset == "val":
        check_holds_out(build_source(settings), settings)


def selections_of(names: Sequence[str]) -> "list[Selection]":
    """Return the selection methods of these names in ``conf/selection``."""
    from dsn_lightning.config.build import build_selections

    cfg = compose_anew("evaluate", f"selection=[{','.join(names)}]", "run_dir=none")
    return build_selections(plain(cfg)["selection"])


@cache
def selection_of(name: str) -> "Selection":
    """Return the selection method of this name."""
    return selections_of([name])[0]


def compare_folders(
    folders: Sequence[Path], *, others: Mapping[str, Sequence[Path]] | None = None, **options: Any
) -> dict[str, Any]:
    """Return the statistics of evaluations, one a seed, and of others beside them.

    Args:
        folders: folders of the main evaluations.
        others: name -> folders of another training's evaluations, in the same order.
        **options: of `dsn_lightning.config.comparisons.compare_folders`.

    Raises:
        UsageError: a folder cannot be read, or the evaluations do not match.
    """
    from dsn_lightning.config.comparisons import compare_folders

    return compare_folders(folders, others=others, **options)
