"""dsn-train: one training, a sweep, or the rest of either."""

import sys
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from dsn_lightning.cli.application import one_line_errors, run_hydra
from dsn_lightning.config import arguments as rewrite
from dsn_lightning.config.compose import add_plug_ins_of_application, config_folder, plain
from dsn_lightning.config.settings import Settings

COMMAND = "dsn-train"


@hydra.main(version_base="1.3", config_path=config_folder(), config_name="train")
def application(cfg: DictConfig) -> None:
    """Read and check the settings, then train."""
    with one_line_errors(COMMAND):
        add_plug_ins_of_application()
        settings = Settings.of(plain(cfg))

        from dsn_lightning.cli.train_recipe import train  # takes seconds

        train(settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; without arguments, with those of the process."""
    with one_line_errors(COMMAND):
        given = rewrite.rewritten(
            sys.argv[1:] if arguments is None else arguments,
            rewrite.quote_pattern,
            rewrite.continue_run,
            rewrite.continue_sweep,
            rewrite.without_run_folder,
        )
    run_hydra(COMMAND, application, given, stopped="resume=RUN_DIR goes on from its last checkpoint")
