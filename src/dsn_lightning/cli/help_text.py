"""The answer to ``--help``: Hydra's text in less time, as Hydra copies all configurations once for each group."""

from collections.abc import Sequence
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dsn_lightning.config.compose import compose_anew, config_folders, names_in_group

_HELP_FLAGS = ("--help", "-h")
_TEXT = """\
{command} is powered by Hydra.

== Configuration groups ==
Compose your configuration from those groups (group=option)

{groups}


== Config ==
Override anything in the config (foo.bar=value)

{config}

Powered by Hydra (https://hydra.cc)
Use --hydra-help to view Hydra specific help

"""


def help_text(command: str, arguments: Sequence[str]) -> str | None:
    """Return what ``command --help`` prints with the overrides that are given.

    None if it is not asked for, or if Hydra must answer: other flags, settings of Hydra's own, a wrong override.
    """
    overrides = [argument for argument in arguments if argument not in _HELP_FLAGS]
    if len(overrides) == len(arguments) or any(o.startswith("-") or "hydra" in o for o in overrides):
        return None
    try:
        config = compose_anew(command.removeprefix("dsn-"), *overrides)
    except (HydraException, OmegaConfBaseException):
        return None
    groups = "\n".join(f"{group}: {', '.join(names_in_group(group))}" for group in sorted(_groups()))
    return _TEXT.format(command=command, groups=groups, config=OmegaConf.to_yaml(config))


def _groups() -> set[str]:
    """Return the groups of configurations, Hydra's own left out."""
    folders = [Path(folder) for folder in config_folders()]
    groups = {file.parent.relative_to(folder) for folder in folders for file in folder.rglob("*.yaml")}
    return {group.as_posix() for group in groups if group.parts and group.parts[0] != "hydra"}
