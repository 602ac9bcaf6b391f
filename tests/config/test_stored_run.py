"""The folder of a run in Hydra's syntax."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from dsn_lightning.config.stored_run import quoted


@pytest.mark.parametrize("folder", ["a\\", "it's", "a\\'b", "\\\\'\\\\", "a\\b c", "x, y=[z]"])
def test_hydra_reads_the_name_of_a_folder_as_it_is(folder):
    (override,) = OverridesParser.create().parse_overrides([f"hydra.run.dir={quoted(folder)}"])
    assert override.value() == folder
