"""Settings out of files that others may have written: checkpoints, folders of runs and sweeps."""

from collections.abc import Sequence
from typing import Any

from dsn_lightning.config.settings import Settings
from dsn_lightning.config.trust import refuse_foreign_code
from dsn_lightning.errors import UsageError


def stored_settings(content: Any, *, where: str) -> Settings:
    """Read the configuration that a file stores, as plain values; ``where`` names the file in messages.

    Nothing in it is resolved, looked up or built; see `check_stored_parts` for the latter.

    Raises:
        UsageError: it is not a complete configuration, has a reference (``${...}``), or a value that is not accepted.
    """
    if not isinstance(content, dict):
        raise UsageError(f"{where}: expected a configuration, got a {type(content).__name__}")
    try:
        return Settings.of(content)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    except (TypeError, ValueError, AttributeError, KeyError) as error:  # a value of another type where nobody checks it
        raise UsageError(f"{where}: not a configuration of dsn-train ({type(error).__name__}: {error})") from error


DATASET_PARTS = ("dataset", "dataset.reading")
"""Parts that its data set and decoder are built from."""


def check_stored_parts(
    settings: Settings, parts: Sequence[str] | None, *, where: str, trusted: Sequence[str] = ()
) -> None:
    """Refuse stored settings that would build foreign code in the parts that are needed, or anywhere (None).

    It has to come before anything is built from them; see `refuse_foreign_code`.
    """
    nodes = {
        **settings.plain,
        "dataset": settings.dataset.source,  # without what is not an argument of the data set
        "dataset.reading": settings.dataset.keys["reading"],
        "trainer": settings.trainer.flags,
    }
    refuse_foreign_code({part: nodes[part] for part in parts or nodes}, where, trusted=trusted)
