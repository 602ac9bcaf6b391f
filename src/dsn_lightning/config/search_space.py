"""The space of a search, in Hydra's syntax for sweeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from dsn_lightning.errors import UsageError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class SearchSpace:
    """The overrides of a search."""

    fixed: Mapping[str, str]  # the overrides that all trials share, by key, and an empty text where one is searched
    distributions: Mapping[str, str]  # a distribution of Optuna, as JSON, by key

    def overrides(self, parameters: Mapping[str, Any]) -> list[str]:
        """Return the overrides of a trial, in the order of the command line."""
        return [given or f"{key}={parameters[key]}" for key, given in self.fixed.items()]

    def searched(self, parameters: Mapping[str, Any]) -> list[str]:
        """Return those of the overrides that a trial's parameters give."""
        return [f"{key}={parameters[key]}" for key, given in self.fixed.items() if not given]


def search_space(arguments: Sequence[str], loader: ConfigLoader) -> SearchSpace:
    """Read overrides: ``choice(...)`` or a list of values, ``range``, ``interval``, ``tag(log, interval(...))``.

    A range has the values that it has in a grid. ``int(interval(1, 6))`` has whole numbers, both ends included. As in
    Hydra, a later override of the same key counts.

    Raises:
        UsageError: no key is searched, or one that cannot be.
    """
    from optuna.distributions import distribution_to_json

    fixed: dict[str, str] = {}
    found: dict[str, str] = {}
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(arguments)):
        key, line = override.get_key_element(), str(override.input_line)
        if not override.is_sweep_override():
            fixed[key] = line
            found.pop(key, None)
            continue
        if key.startswith("sweep."):
            raise UsageError(f"{line}: cannot be searched; several figures are a list: sweep.metric=[A,B]")
        fixed[key] = ""
        try:
            found[key] = distribution_to_json(_distribution(override))
        except (ValueError, IndexError) as error:
            raise UsageError(f"{line}: {error}") from error
    if not found:
        raise UsageError(
            "sweep.sampler: nothing to search; give a key several values, such as M=1,3 gamma=interval(0,1)"
        )
    return SearchSpace(fixed, found)


def _distribution(override: Override) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        is_log = "log" in sweep.tags
        if isinstance(sweep.start, int) and isinstance(sweep.end, int):
            return IntDistribution(sweep.start, sweep.end, log=is_log)
        assert sweep.start is not None
        assert sweep.end is not None
        return FloatDistribution(sweep.start, sweep.end, log=is_log)
    if isinstance(sweep, RangeSweep) and not sweep.shuffle:
        values = list(sweep.range())
        low, high, step = min(values), max(values), abs(sweep.step)
        if all(isinstance(value, int) for value in values):
            return IntDistribution(low, high, step=step)
        return FloatDistribution(low, high, step=step)
    texts = [str(text) for text in override.sweep_string_iterator()]
    values = list(override.sweep_iterator())
    if len(values) == len(texts) and all(type(value) in (int, float) for value in values):
        return CategoricalDistribution(values)
    return CategoricalDistribution(texts)
