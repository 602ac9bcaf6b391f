"""dsn-prepare: check a data set, make small copies of its videos, extract optical flow."""

import sys
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig
from rich.console import Console

from dsn_lightning.cli.application import one_line_errors, run_hydra
from dsn_lightning.config import arguments as rewrite
from dsn_lightning.config.added_keys import refuse_unknown_keys
from dsn_lightning.config.build_part import build_decoder, build_source
from dsn_lightning.config.compose import add_plug_ins_of_application, config_folder, plain
from dsn_lightning.config.prepare_settings import PreparationSettings
from dsn_lightning.errors import printable
from dsn_lightning.prepare.dataset_report import print_summary
from dsn_lightning.prepare.preparation import prepare_dataset, strict_failures
from dsn_lightning.text_tables import PrintableConsole

COMMAND = "dsn-prepare"


@hydra.main(version_base="1.3", config_path=config_folder(), config_name="prepare")
def application(cfg: DictConfig) -> None:
    """Read and check the settings, then prepare."""
    with one_line_errors(COMMAND):
        add_plug_ins_of_application()
        settings = PreparationSettings.of(plain(cfg))
        prepare(settings)


def prepare(settings: PreparationSettings) -> None:
    """Prepare a data set and print a summary of the report; exit with code 1 if strict and it has findings."""
    file, report = prepare_dataset(
        build_source(settings.dataset),
        settings.kinds,
        decoder=build_decoder(settings.dataset.reading.decoder),
        copy_decoder=build_decoder(settings.decoder_without_deadline),
        output=settings.folder,
        jobs=settings.jobs,
        refuse_damage=settings.dataset.reading.on_damage == "refuse",
        shard_size=None if (megabytes := settings.frames.shard_size) is None else megabytes * 10**6,
    )
    console = PrintableConsole(width=max(Console().width, 100))
    print_summary(report, console)
    console.print(f"written: {file}", soft_wrap=True)
    if settings.strict and (failures := strict_failures(report)):
        print(printable(f"{COMMAND}: strict=true: {', '.join(failures)}"), file=sys.stderr)
        sys.exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; without arguments, with those of the process."""
    given = sys.argv[1:] if arguments is None else arguments
    message = "what is finished stays, and the same call goes on from there"
    with one_line_errors(COMMAND):
        given = rewrite.rewritten(given, rewrite.quote_pattern, refuse_unknown_keys(PreparationSettings, "prepare"))
    run_hydra(COMMAND, application, given, stopped=message)
