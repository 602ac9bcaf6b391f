"""dsn-predict: asks a trained DSN about videos."""

import sys
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from dsn_lightning.cli.application import check_checkpoints, one_line_errors, run_hydra
from dsn_lightning.config import arguments as rewrite
from dsn_lightning.config.added_keys import refuse_unknown_keys
from dsn_lightning.config.compose import config_folder, plain
from dsn_lightning.config.predict_settings import PredictSettings
from dsn_lightning.config.quick_imports import quick_imports

COMMAND = "dsn-predict"


@hydra.main(version_base="1.3", config_path=config_folder(), config_name="predict")
def application(cfg: DictConfig) -> None:
    """Read and check the settings, then answer for each video; exit with code 1 if one could not be read."""
    with one_line_errors(COMMAND):
        settings = PredictSettings.of(plain(cfg))
        check_checkpoints({"checkpoint": settings.checkpoint})

        with quick_imports():
            from dsn_lightning.cli.predict_recipe import predict  # takes seconds

        if predict(settings):
            sys.exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; without arguments, with those of the process."""
    given = sys.argv[1:] if arguments is None else arguments
    message = "the answers so far are kept, and the same call goes on from there"
    with one_line_errors(COMMAND):
        given = rewrite.rewritten(given, refuse_unknown_keys(PredictSettings, "predict"))
    run_hydra(COMMAND, application, given, stopped=message)
