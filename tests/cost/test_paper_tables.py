"""Tables III and IV."""

import pytest

from dsn_lightning.cli.cost_recipe import paper_rows
from dsn_lightning.cost.paper_tables import ROWS, cost_table
from dsn_lightning.paper import paper_table

KEYS = [("r3d_18", 3), ("r2plus1d_34", 3)]


@pytest.mark.parametrize("number", [3, 4])
def test_every_row_is_within_half_a_percent_of_the_paper(number):
    rows = paper_rows(number)
    assert [row.row for row in rows] == list(paper_table(number)) == list(ROWS[number])
    for row in rows:
        assert row.clips == paper_table(number)[row.row]["clips"]
        assert row.gmacs == pytest.approx(row.gmacs_classifier + row.gmacs_observation)
        assert 0.995 <= row.ratio <= 1.005
    implied = {row.row: row.paper_sampler_gmacs for row in rows if row.N}
    assert implied["R(2+1)D & DSN (M = 1)"] == pytest.approx(1.64)
    assert implied["R3D & DSN (M = 3)"] == pytest.approx(1.9356, abs=1e-4)


def test_a_row_by_hand():
    """4 clips of 20 GMACs and 12 candidates of 2 GMACs against the paper's 104.6; its R3D row is 203.6 for 10 clips."""
    rows = cost_table(3, classifiers={"r3d_18": 20e9, "r2plus1d_34": 1e9}, samplers=dict.fromkeys(KEYS, 2e9))
    row = rows[1]
    assert (row.row, row.clips, row.N) == ("R3D & DSN (M = 1)", 4, 3)
    assert (row.gmacs_classifier, row.gmacs_observation, row.gmacs, row.sampler_gmacs) == (80, 24, 104, 2)
    assert row.ratio == pytest.approx(104 / 104.6)
    assert row.paper_sampler_gmacs == pytest.approx((104.6 - 4 * 20.36) / 12)
