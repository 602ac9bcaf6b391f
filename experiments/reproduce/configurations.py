"""All that the experiments use of the package's configuration layer and command line, in one place.

Everything that imports the training, which takes seconds, is imported where it is called.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from dsn_lightning.commands import PRELOAD, cli, shared
from dsn_lightning.commands.cli import check, one_line_errors
from dsn_lightning.commands.compose import compose_anew
from dsn_lightning.commands.held_out import check_holds_out, evaluated, name_in_results
from dsn_lightning.commands.identity import finished_trainings, is_trained, training_digest
from dsn_lightning.commands.measuring import measured
from dsn_lightning.commands.networks import as_list, count_classifier, count_observation, input_shape, modality
from dsn_lightning.commands.shared import digest
from dsn_lightning.commands.source import build_source

if TYPE_CHECKING:
    from dsn_lightning.data.datamodule import SectionClipDataModule

__all__ = [
    "PRELOAD",
    "as_list",
    "build_datamodule",
    "build_source",
    "check",
    "check_holds_out",
    "compare_folders",
    "compose_anew",
    "count_classifier",
    "count_observation",
    "digest",
    "evaluate",
    "evaluated",
    "finished_trainings",
    "input_shape",
    "is_trained",
    "max_response_configuration",
    "measured",
    "modality",
    "name_in_results",
    "run_command",
    "shared_folder_name",
    "train",
    "train_max_response",
    "training_digest",
]


def max_response_configuration(cfg: DictConfig) -> DictConfig:
    """Return the training of the max-response network that ``observation.checkpoint=auto`` of ``cfg`` stands for."""
    return shared.configuration(cfg, "max_response")


def shared_folder_name(cfg: DictConfig, digest: str) -> str:
    """Return the name of the folder in which ``auto`` looks for a shared training."""
    return shared.folder_name(cfg, digest)


def run_command(program: str, arguments: Sequence[str]) -> None:
    """Run ``dsn-train`` or ``dsn-evaluate`` in this process.

    The entry points take their arguments from `sys.argv` alone: the only place here that sets it.

    Raises:
        SystemExit: as the command does.
    """
    sys.argv = [program, *arguments]
    {"dsn-train": cli.train, "dsn-evaluate": cli.evaluate}[program]()


def train_max_response(cfg: DictConfig) -> None:
    """Train the max-response network that the training ``cfg`` starts from, unless it is finished.

    Raises:
        SystemExit: with code 2 when a setting is wrong.
    """
    response = max_response_configuration(cfg)
    OmegaConf.resolve(response)
    with one_line_errors("dsn-train"):
        check(response)
        shared.made_once(response, train)


def train(cfg: DictConfig) -> None:
    """Run a training from its resolved configuration."""
    from dsn_lightning.commands.train import train

    train(cfg)


def evaluate(cfg: DictConfig) -> None:
    """Run an evaluation from its resolved configuration."""
    from dsn_lightning.commands.evaluate import evaluate

    evaluate(cfg)


def build_datamodule(cfg: DictConfig) -> "SectionClipDataModule":
    """Return the data module of a configuration."""
    from dsn_lightning.commands.build import build_datamodule

    return build_datamodule(cfg)


def compare_folders(
    folders: Sequence[Path], *, others: Mapping[str, Sequence[Path]] | None = None, **options: Any
) -> dict[str, Any]:
    """Return the statistics of evaluations, one a seed, and of others beside them.

    Args:
        folders: folders of the main evaluations.
        others: name -> folders of another training's evaluations, in the same order.
        **options: of `dsn_lightning.commands.comparing.compare_folders`.

    Raises:
        UsageError: a folder cannot be read, or the evaluations do not match.
    """
    from dsn_lightning.commands.comparing import compare_folders

    return compare_folders(folders, others=others, **options)
