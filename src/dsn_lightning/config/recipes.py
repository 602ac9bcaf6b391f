"""The recipe that a data set is trained with: a configuration of ``conf/recipe``, which its YAML names."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dsn_lightning.config.compose import config_folders
from dsn_lightning.errors import UsageError
from dsn_lightning.files import check_nesting

_CHOOSES_SETTINGS = ("recipe=", "experiment=")


def choose_recipe(arguments: list[str]) -> list[str]:
    """Add ``recipe=NAME`` where the YAML of the data set that is given names one.

    A command line with a recipe or an experiment of its own is left as it is.
    """
    if any(argument.lstrip("+").startswith(_CHOOSES_SETTINGS) for argument in arguments):
        return arguments
    places = [place for place, argument in enumerate(arguments) if argument.startswith("dataset=")]
    for folder in (*given_folders(arguments), *config_folders()) if places else ():
        file = Path(folder, "dataset", f"{arguments[places[-1]].removeprefix('dataset=')}.yaml")
        if not file.is_file():
            continue
        recipe = written_keys(file).get("recipe")
        behind = places[-1] + 1  # argparse takes no overrides behind a later flag
        return [*arguments[:behind], f"recipe={recipe}", *arguments[behind:]] if recipe else arguments
    return arguments


def given_folders(arguments: list[str]) -> Iterator[str]:
    """Return the folders of configurations that a command line names: ``--config-dir DIR`` or ``--config-dir=DIR``."""
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        if argument.startswith(("--config-dir", "-cd")):
            yield argument.partition("=")[2] or following


def written_keys(file: Path) -> dict[str, Any]:
    """Return the keys of a configuration as written, before Hydra composes it; empty if it is not a mapping.

    Raises:
        UsageError: it is not valid YAML.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        check_nesting(content)
    except RecursionError as error:
        raise UsageError(f"{file}: is nested too deeply") from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:  # of tags such as !!int ""
        reason = " ".join(str(error).replace('in "<unicode string>", ', "in ").split())
        raise UsageError(f"{file}: is not valid YAML ({reason})") from error
    return content if isinstance(content, dict) else {}
