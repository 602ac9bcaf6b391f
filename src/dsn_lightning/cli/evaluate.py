"""dsn-evaluate: compares selection methods, at one or more M, in one pass over the test or held-out videos."""

import sys
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from dsn_lightning.cli.application import check_checkpoints, one_line_errors, run_hydra
from dsn_lightning.config import arguments as rewrite
from dsn_lightning.config.added_keys import refuse_unknown_keys
from dsn_lightning.config.compose import add_plug_ins_of_application, config_folder, plain
from dsn_lightning.config.evaluation_settings import EvaluationSettings
from dsn_lightning.config.quick_imports import quick_imports

COMMAND = "dsn-evaluate"

_STOPPED = "the results are not complete; run the same command again"


@hydra.main(version_base="1.3", config_path=config_folder(), config_name="evaluate")
def application(cfg: DictConfig) -> None:
    """Read and check the settings, then evaluate, or fuse what other evaluations have stored."""
    with one_line_errors(COMMAND):
        add_plug_ins_of_application()
        settings = EvaluationSettings.of(plain(cfg))
        if settings.fusion is not None:
            from dsn_lightning.cli.fusion_recipe import fuse_stored

            fuse_stored(settings)
            return

        check_checkpoints({"checkpoint": settings.checkpoint, **settings.networks})
        with quick_imports():
            from dsn_lightning.cli.evaluate_recipe import evaluate  # takes seconds

        evaluate(settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; without arguments, with those of the process."""
    with one_line_errors(COMMAND):
        given = rewrite.rewritten(
            sys.argv[1:] if arguments is None else arguments,
            rewrite.quote_pattern,
            rewrite.add_networks,
            rewrite.without_run_folder,
            refuse_unknown_keys(EvaluationSettings, "evaluate"),
        )
    run_hydra(COMMAND, application, given, stopped=_STOPPED)
