"""From a node of the configuration to the object that it describes, and to a data set, without torch."""

import re
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from dsn_lightning.config.setting_rules import Node
from dsn_lightning.config.settings import DatasetSettings
from dsn_lightning.datasets.records import VideoSource, check_source
from dsn_lightning.errors import UsageError


def build_part(node: Node, /, key: str, **arguments: Any) -> Any:
    """Return what a node describes: its ``_target_`` called with its keys and ``arguments``; lists stay lists.

    Where both have a key, ``arguments`` win. The library's `UsageError` names the argument; ``key``, the node's place
    in the configuration, is added here.
    """
    try:
        return instantiate(dict(node), _convert_="all", **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, TypeError):
            raise_if_unknown(error.__cause__, key)
        if not isinstance(error.__cause__, UsageError):
            raise
        inner = str(error).rpartition("full_key: ")[2] if "full_key: " in str(error) else ""
        where = ".".join(filter(None, [key, inner]))
        message = str(error.__cause__)
        raise UsageError(message if message.startswith(where.split(".")[0]) else f"{where}.{message}") from error


def raise_if_unknown(error: TypeError, key: str) -> None:
    """Raise `UsageError` if a constructor has refused an argument that it does not have."""
    if found := re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error)):
        raise UsageError(f"{key}.{found[2]}: {found[1]} has no such argument") from error


def build_source(dataset: DatasetSettings) -> VideoSource:
    """Return the data set, checked against its contract, without what training needs."""
    source: VideoSource = build_part(dataset.source, "dataset")
    check_source(source, f"dataset={dataset.name}")
    return source
