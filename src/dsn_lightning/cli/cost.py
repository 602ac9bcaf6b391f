"""dsn-cost: what networks and videos cost, without weights, memory or videos; and how fast this machine is at it."""

import json
import sys
from collections.abc import Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from dsn_lightning.cli.application import one_line_errors, run_hydra
from dsn_lightning.config import arguments as rewrite
from dsn_lightning.config.added_keys import refuse_unknown_keys
from dsn_lightning.config.compose import add_plug_ins_of_application, config_folder
from dsn_lightning.config.cost_settings import CostSettings
from dsn_lightning.config.quick_imports import quick_imports
from dsn_lightning.errors import UsageError

COMMAND = "dsn-cost"

_KEYS_OF_A_TABLE = ("table", "format", "hydra.searchpath")


@hydra.main(version_base="1.3", config_path=config_folder(), config_name="cost")
def application(cfg: DictConfig) -> None:
    """Print a table of the paper, or the costs of any networks and schemes."""
    with one_line_errors(COMMAND):
        add_plug_ins_of_application()
        settings = CostSettings.of(cfg)
        if settings.table is not None:
            _check_alone(settings.table)

        from rich.console import Console

        with quick_imports():
            from dsn_lightning.cli import cost_recipe  # takes seconds
        from dsn_lightning.text_tables import PrintableConsole

        console = PrintableConsole(width=max(Console().width, 110))  # tables stay whole in files and narrow windows
        if settings.table is not None:
            cost_recipe.print_paper_table(settings.table, console, as_json=settings.format == "json")
            return
        found = cost_recipe.costs(settings)
        if settings.format == "json":
            print(json.dumps(found, indent=2))
        else:
            cost_recipe.print_costs(found, console)


def _check_alone(table: object) -> None:
    given = [o.lstrip("+~") for o in HydraConfig.get().overrides.task]
    others = [o for o in given if o.split("=")[0] not in _KEYS_OF_A_TABLE]
    if others:
        raise UsageError(f"table={table}: has the paper's own networks and schemes; leave out {' '.join(others)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; without arguments, with those of the process."""
    given = sys.argv[1:] if arguments is None else arguments
    with one_line_errors(COMMAND):
        given = rewrite.rewritten(given, rewrite.without_observation, refuse_unknown_keys(CostSettings, "cost"))
    run_hydra(COMMAND, application, given, stopped="nothing was written")
