"""A price of kept clips, and the choice to skip sections, are refused where they would have no effect."""

import pytest

from dsn_lightning.config.build import build_recognizer
from dsn_lightning.config.compose import settings_of
from dsn_lightning.errors import UsageError

SKIPS = ("observation=r2d_tiny_shared", "observation.network.may_skip=true")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["reward.price=0.1"], r"^reward.price=0.1: this sampler keeps a clip of every section, whatever the price"),
        ([*SKIPS, "M=1"], r"^observation.network.may_skip=true: at least one clip is kept, so M must be at least 2"),
        ([*SKIPS, "estimator=gumbel"], "this estimator does not optimise the reward"),
    ],
)
def test_what_would_have_no_effect_is_refused(overrides, message):
    with pytest.raises(UsageError, match=message):
        build_recognizer(settings_of(*overrides, "run_dir=none"), 3)


def test_a_sampler_that_skips_sections_is_built():
    recognizer = build_recognizer(settings_of(*SKIPS, "reward.price=0.1", "run_dir=none"), 3)
    assert recognizer.observation.may_skip
    assert recognizer.reward.price == 0.1
