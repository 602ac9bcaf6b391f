"""The space of a search: Hydra's syntax for sweeps."""

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, json_to_distribution

from dsn_lightning.config.compose import config_folder
from dsn_lightning.config.search_space import SearchSpace, search_space
from dsn_lightning.errors import UsageError


def space_of(*arguments: str) -> SearchSpace:
    return search_space(arguments, ConfigLoaderImpl(create_config_search_path(f"file://{config_folder()}")))


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("M=1,3,6", CategoricalDistribution([1, 3, 6])),
        ("gamma=choice(0,0.5)", CategoricalDistribution([0, 0.5])),
        ("compile=true,false", CategoricalDistribution(["True", "False"])),
        ("weights=null,'a b'", CategoricalDistribution(["null", "'a b'"])),
        ("schedule=tiny,finetune", CategoricalDistribution(["tiny", "finetune"])),
        ("schedule=glob(r3*)", CategoricalDistribution(["r3d_18"])),
        ("M=range(1,6,2)", IntDistribution(1, 5, step=2)),
        ("gamma=range(0,1,0.25)", FloatDistribution(0, 0.75, step=0.25)),
        ("M=shuffle(range(1,4))", CategoricalDistribution([1, 2, 3])),
        ("gamma=interval(0,1)", FloatDistribution(0, 1)),
        ("M=int(interval(1,6))", IntDistribution(1, 6)),
        ("schedule.lr=tag(log,interval(1e-4,1e-1))", FloatDistribution(1e-4, 1e-1, log=True)),
        ("M=int(tag(log,interval(1,64)))", IntDistribution(1, 64, log=True)),
    ],
)
def test_the_syntax_of_sweeps(argument, expected):
    space = space_of("seed=3", argument)
    (found,) = map(json_to_distribution, space.distributions.values())
    if argument.startswith("M=shuffle"):
        assert sorted(found.choices) == list(expected.choices)
    else:
        assert found == expected


def test_a_trial_has_the_overrides_of_the_command_line_in_their_order():
    space = space_of("~observation", "+new=1", "M=1,3", "seed=3", "gamma=interval(0,1)", "++more=a,b", "seed=4")
    found = space.overrides({"M": 3, "gamma": 1e-05, "++more": "a"})
    assert found == ["~observation", "+new=1", "M=3", "seed=4", "gamma=1e-05", "++more=a"]
    assert space_of("M=1,3", "N=2,3", "M=6").overrides({"N": 2}) == ["M=6", "N=2"]  # the last one counts


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("M=3", "sweep.sampler: nothing to search; give a key several values"),
        ("sweep.metric=best,gmacs", r"cannot be searched; several figures are a list: sweep.metric=\[A,B\]"),
        ("gamma=tag(log,interval(0,1))", r"^gamma=tag\(log,interval\(0,1\)\): .*low > 0"),
        ("gamma=interval(1,0)", r"^gamma=interval\(1,0\): "),
        ("M=range(3,3)", r"^M=range\(3,3\): "),
    ],
)
def test_what_cannot_be_searched_is_refused(argument, message):
    with pytest.raises(UsageError, match=message):
        space_of("seed=3", argument)
