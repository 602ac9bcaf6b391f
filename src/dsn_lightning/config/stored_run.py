"""Goes on with what the folder of a run stores: a configuration of plain values, chosen by Hydra from memory.

Hydra never reads a file of the folder. It would follow a list of defaults, apply settings of its own (which name
classes, log handlers and environment variables) and resolve references.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from dsn_lightning.config.settings import Settings
from dsn_lightning.config.shared_trainings import keys_left_to_auto
from dsn_lightning.config.stored_places import lies_here, refuse_places
from dsn_lightning.config.stored_settings import check_stored_parts, stored_settings
from dsn_lightning.errors import UsageError
from dsn_lightning.runs.run_folder import RunFolder
from dsn_lightning.runs.tolerant_files import read_yaml

_NAME = "stored_run"
_OF_HYDRA = ("defaults", "hydra")


def choose_stored(
    file: Path, *, where: str, trusted: Sequence[str], changed: Mapping[str, Any] | None = None
) -> list[str]:
    """Check the configuration that a file in a run's folder stores; return the arguments with which Hydra takes it.

    The run goes on in this folder, wherever the configuration says that it was.

    Args:
        file: ``config.yaml`` of a run, or ``composed.yaml`` of a job that has not begun.
        where: names the folder as it was given, for messages.
        trusted: packages that the user of this command trusts; what the file itself says about that does not count.
        changed: values that replace those of the file, by dotted key.

    Raises:
        UsageError: the file is damaged or is no configuration, has references, or would build foreign code or make
            files elsewhere.
    """
    where, folder = f"{where}: {file.name}", str(file.parent)
    if "${" in folder:
        raise UsageError(f"{where}: the name of a folder must not contain ${{, which stands for a reference")
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise UsageError(f"{where}: is damaged: expected a mapping of keys")
    if file.name == RunFolder.composed_yaml.name:
        content.pop("hydra", None)  # which only the sweep that wrote it uses
    if found := [key for key in _OF_HYDRA if key in content]:
        raise UsageError(f"{where}: {found[0]}: a run does not store this key")
    settings = stored_settings(content, where=where)
    check_stored_parts(settings, None, where=where, trusted=trusted)
    _check_places(settings, file.parent, where=where)
    values = {"trust": [], "run_dir": folder, **(changed or {})}
    try:
        settings = settings.changed(values)
    except (KeyError, TypeError) as error:
        raise UsageError(f"{where}: missing keys: expected {', '.join(values)}") from error
    ConfigStore.instance().store(_NAME, dict(settings.plain))
    return ["--config-name", _NAME, f"hydra.run.dir={quoted(folder)}"]


def quoted(text: str) -> str:
    """Return a text in Hydra's quotes: backslashes are doubled in front of a quote, and nowhere else.

    >>> print(quoted("it's"), quoted("a\\\\b\\\\"))
    'it\\'s' 'a\\b\\\\'
    """
    escaped = re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
    return f"'{escaped}'"


def _check_places(settings: Settings, folder: Path, *, where: str) -> None:
    refuse_places(settings, where=where, remedy="if that is what you want, begin a new run with it", own=folder)
    shared = settings.shared.folder
    if keys_left_to_auto(settings) and not lies_here(shared, folder) and not Path(shared).is_dir():
        raise UsageError(f"{where}: shared.folder={shared}: no such folder; create it if trainings may be made there")
