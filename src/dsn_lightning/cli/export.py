"""dsn-export: writes a trained DSN as files that run without this package."""

import sys
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from dsn_lightning.cli.application import check_checkpoints, one_line_errors, run_hydra
from dsn_lightning.config import arguments as rewrite
from dsn_lightning.config.added_keys import refuse_unknown_keys
from dsn_lightning.config.compose import config_folder, plain
from dsn_lightning.config.export_settings import ExportSettings
from dsn_lightning.config.quick_imports import quick_imports

COMMAND = "dsn-export"


@hydra.main(version_base="1.3", config_path=config_folder(), config_name="export")
def application(cfg: DictConfig) -> None:
    """Read and check the settings, then export."""
    with one_line_errors(COMMAND):
        settings = ExportSettings.of(plain(cfg))
        check_checkpoints({"checkpoint": settings.checkpoint})

        with quick_imports():
            from dsn_lightning.cli.export_recipe import export  # takes seconds

        export(settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; without arguments, with those of the process."""
    given = sys.argv[1:] if arguments is None else arguments
    with one_line_errors(COMMAND):
        given = rewrite.rewritten(given, refuse_unknown_keys(ExportSettings, "export"))
    run_hydra(COMMAND, application, given, stopped="nothing was written")
