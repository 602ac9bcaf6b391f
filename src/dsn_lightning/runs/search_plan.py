"""What a search looks for and how, as the ``search.json`` of a sweep's folder records it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from dsn_lightning.errors import UsageError
from dsn_lightning.files import write_json
from dsn_lightning.runs.run_folder import check_format
from dsn_lightning.runs.tolerant_files import read_json

SEARCH_FORMAT = 1
"""Version of ``search.json``."""


@dataclass(frozen=True)
class SearchPlan:
    """A search: the command that began it, the space, and the rules."""

    arguments: Sequence[str]  # overrides of the command line; those of a trial replace the swept ones
    config_name: str  # primary configuration
    space: Mapping[str, str]  # a distribution of Optuna, as JSON, by the key that is searched
    metric: Sequence[str]  # names of the figures; several have a Pareto frontier
    sampler: str
    pruner: str
    seed: int
    trials: int  # in all, failed and pruned ones included

    def write(self, file: Path) -> None:
        """Write the record."""
        write_json(file, {"format": SEARCH_FORMAT, **asdict(self)})


def read_search_plan(file: Path) -> SearchPlan | None:
    """Return the record; None if there is no such file.

    Raises:
        UsageError: it has another format, or is damaged.
    """
    if not file.is_file():
        return None
    content = read_json(file)
    if not isinstance(content, dict):
        raise UsageError(f"{file}: is damaged; begin a new search")
    check_format(file.parent, content, expected=SEARCH_FORMAT, kind="search")
    names = [field.name for field in fields(SearchPlan)]
    values: dict[str, Any] = {name: content.get(name) for name in names}
    is_right = {
        "arguments": _are_texts(values["arguments"]),
        "config_name": isinstance(values["config_name"], str),
        "space": isinstance(values["space"], dict) and _are_texts(list(values["space"].values())),
        "metric": _are_texts(values["metric"]) and bool(values["metric"]),
        "sampler": isinstance(values["sampler"], str),
        "pruner": isinstance(values["pruner"], str),
        "seed": type(values["seed"]) is int and values["seed"] >= 0,
        "trials": type(values["trials"]) is int,
    }
    if wrong := [name for name in names if not is_right[name]]:
        raise UsageError(f"{file}: is damaged: {wrong[0]} has an unexpected value; begin a new search")
    return SearchPlan(**values)


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
