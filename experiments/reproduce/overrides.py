"""The overrides of a table's command line: which are refused, and which apply to a training."""

from collections.abc import Mapping, Sequence

import yaml

from dsn_lightning.errors import UsageError
from reproduce.configurations import Settings
from reproduce.paper_table import PaperTable

FLOW = "flow."
"""Prefix of an override that applies to the trainings on optical flow alone."""

SEARCH_PATH = "hydra.searchpath="
"""Override that names folders of plug-ins; ``--config-dir DIR`` is rewritten to it."""

OF_ALL_COMMANDS = ("num_workers=", "start_workers=", "trust=", "test.figures=", SEARCH_PATH)
"""Overrides that are passed to dsn-evaluate too."""

_REFUSED = {
    "seed": "use seeds=0,1,2",
    "experiment": "the table names its experiments",
    "selection": "the table names its selection methods",
    "algorithm": "the table names its algorithms",
    "run_dir": "use output=DIR",
    "hydra.run.dir": "use output=DIR",
    "shared.folder": "use output=DIR",
    "test.enabled": "dsn-evaluate tests the runs of a table",
}
"""Key that a table sets itself -> what to do instead."""


def override_key(override: str) -> str:
    """Return the key that an override sets.

    >>> override_key("+schedule.lr=0.1")
    'schedule.lr'
    """
    return override.lstrip("+~").partition("=")[0]


def plug_in_folders(overrides: Sequence[str]) -> list[str]:
    """Return the folders of configurations that overrides name.

    >>> plug_in_folders(["M=1", "hydra.searchpath=['file:///a','file://b c']"])
    ['/a', 'b c']
    """
    paths = [o.removeprefix(SEARCH_PATH) for o in overrides if o.startswith(SEARCH_PATH)]
    places = [str(place) for path in paths for place in yaml.safe_load(path)]
    return [place.removeprefix("file://") for place in places if place.startswith("file://")]


def is_conditional(override: str) -> bool:
    """Tell whether an override may apply to some trainings of a table and not to others."""
    return override.startswith(("algorithm.", FLOW))


def applicable(overrides: Sequence[str], settings: Settings) -> dict[str, str]:
    """Return the overrides that apply to a training: as given -> as passed on.

    Overrides of ``algorithm.*`` are dropped where the algorithm has no such key. Those of ``flow.*`` are dropped for
    trainings on RGB; for trainings on flow they replace the overrides of the same key and of keys below it.

    Args:
        overrides: of the table's command line.
        settings: the training's settings without its conditional overrides.
    """
    found = {o: o for o in overrides if not o.startswith(FLOW)}
    if settings.dataset.modality == "flow":
        of_flow = {o: o.removeprefix(FLOW) for o in overrides if o.startswith(FLOW)}
        keys = [override_key(o) for o in of_flow.values()]
        found = {o: o for o in found if not any(f"{override_key(o)}.".startswith(f"{key}.") for key in keys)} | of_flow
    return {given: passed for given, passed in found.items() if _is_known(passed, settings.plain["algorithm"])}


def _is_known(override: str, algorithm: Mapping[str, object]) -> bool:
    return not override.startswith("algorithm.") or override_key(override).removeprefix("algorithm.") in algorithm


def check_overrides(table: PaperTable, overrides: Sequence[str]) -> None:
    """Refuse overrides that a table sets itself.

    Raises:
        UsageError: names the key and the remedy.
    """
    refused = dict(_REFUSED)
    if table.splits:
        refused["dataset.split"] = f"the table is the mean over splits {', '.join(map(str, table.splits))}"
    for override in overrides:
        key = override_key(override.removeprefix(FLOW))
        if "=" not in override:
            raise UsageError(f"{override}: expected KEY=VALUE or --dry-run")
        if override.lstrip("+~").startswith(FLOW) and not override.startswith(FLOW):
            raise UsageError(f"{override}: put {FLOW} first, as in flow.+KEY=VALUE")
        if override.startswith(FLOW) and f"{key}=".startswith(OF_ALL_COMMANDS):
            raise UsageError(f"{override}: applies to all runs; use {override.removeprefix(FLOW)}")
        if key in refused:
            raise UsageError(f"{override}: a table does not take this key; {refused[key]}")
