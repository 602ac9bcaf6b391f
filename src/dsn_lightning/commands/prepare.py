"""dsn-prepare: check a data set, make small copies of its videos, extract optical flow."""

import math
import sys
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from dsn_lightning.commands.source import build_source
from dsn_lightning.errors import UsageError
from dsn_lightning.prepare.copy_kinds import FlowCopy, SmallCopy
from dsn_lightning.prepare.preparation import PrepareSettings, prepare_dataset, strict_failures
from dsn_lightning.prepare.report_summary import print_summary


def prepare(cfg: DictConfig) -> None:
    """Prepare the data set of ``cfg`` and print a summary of the report.

    Raises:
        UsageError: a setting is wrong, the output could overwrite a video, or the disk is full.
        SystemExit: 1 if ``cfg.strict`` and the report has findings.
    """
    settings = read_settings(cfg)
    decoder = cfg.dataset.reading.decoder
    file, report = prepare_dataset(
        build_source(cfg.dataset),
        settings,
        decoder=instantiate(decoder),
        copy_decoder=instantiate(decoder, **({"deadline": math.inf} if "deadline" in decoder else {})),
    )
    console = Console(width=max(Console().width, 100))
    print_summary(report, console)
    console.print(f"written: {file}", soft_wrap=True)
    if cfg.strict and (failures := strict_failures(report)):
        print(f"dsn-prepare: strict=true: {', '.join(failures)}", file=sys.stderr)
        sys.exit(1)


def read_settings(cfg: DictConfig) -> PrepareSettings:
    """Return the settings in ``cfg``.

    Raises:
        UsageError: names the key, its value and the allowed values.
    """
    if not isinstance(cfg.strict, bool):
        raise UsageError(f"strict={cfg.strict}: must be true or false")
    if cfg.jobs is not None:
        _check_whole_number(cfg, "jobs", 1)
    _check_whole_number(cfg, "transcode.short_side", 16)
    _check_whole_number(cfg, "transcode.keyint", 1)
    _check_whole_number(cfg, "transcode.crf", 0, 51)
    bound = cfg.flow.bound
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not bound > 0:
        raise UsageError(f"flow.bound={bound}: must be a number above 0")
    size = list(cfg.flow.size) if OmegaConf.is_list(cfg.flow.size) else []
    if len(size) != 2 or not all(isinstance(side, int) and side >= 16 for side in size):
        raise UsageError(f"flow.size={cfg.flow.size}: must be [height, width], both at least 16 pixels")
    output = cfg.output or cfg.dataset.reading.prepared  # the folder that training reads from
    return PrepareSettings(
        steps=tuple(cfg.steps) if OmegaConf.is_list(cfg.steps) else (cfg.steps,),
        output=None if output is None else Path(output),
        jobs=cfg.jobs,
        small=SmallCopy(cfg.transcode.short_side, cfg.transcode.keyint, cfg.transcode.crf),
        flow=FlowCopy((size[0], size[1]), float(bound)),
    )


def _check_whole_number(cfg: DictConfig, key: str, least: int, most: float = math.inf) -> None:
    value = OmegaConf.select(cfg, key)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        upper = "" if math.isinf(most) else f" and at most {most}"
        raise UsageError(f"{key}={value}: must be a whole number of at least {least}{upper}")
